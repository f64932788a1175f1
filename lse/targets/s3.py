"""An S3-compatible bucket as target: Amazon's, or that of the server which LSE_S3_ENDPOINT names.

<prefix>/<folder>/<name>                    the objects
<prefix>/.trash/<folder>/<name>.<md5>       what was replaced or trashed, in a bucket that keeps no versions

Each object carries its md5 and its properties as metadata, since the ETag of an upload in parts is no md5.
Credentials and region come from boto3's usual places: environment, `~/.aws`, the role of the machine.
"""

import base64
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from lse.archive.files import atomic_file
from lse.errors import (
    AccessError,
    ConfigurationError,
    DifferencesFound,
    IncompleteError,
    LseError,
    TemporaryError,
    UsageError,
)
from lse.settings import Settings
from lse.targets import Progress, StoredObject
from lse.targets._measure import Measure, measure, new_md5
from lse.targets._paths import checked_path
from lse.targets._retry import CHECK_SECONDS, RetryPolicy

try:
    import boto3
    from boto3.s3.transfer import TransferConfig
    from botocore.config import Config
except ImportError as missing:
    raise ConfigurationError(
        "The target `s3` needs the library boto3.", hint="Type: pip install 'lse[s3]'"
    ) from missing

from lse.targets._s3_errors import ChangedError, NotFoundError, refuse_redirect, translated

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
PART_BYTES = 32 * 1024 * 1024
"""What one request carries, and all that an upload holds in memory. S3 takes 10,000 parts: 312 GiB."""
DOWNLOAD_BYTES = 8 * 1024 * 1024
COPY_BYTES = 5 * 1024**3
"""The largest object that S3 copies in one request (its reference)."""
ATTEMPTS = 3
"""How often a transfer begins anew when its object changed meanwhile or arrived damaged."""
LOOKS_AT_ONCE = 8
"""A list names no metadata, so each object is asked for; boto3 keeps ten connections."""
PROPERTY_BYTES = 1800
"""S3 takes 2 KB of metadata; the rest is the md5 and names."""

_MARKS = {
    "head_object": "ETag",
    "put_object": "ETag",
    "create_multipart_upload": "UploadId",
    "upload_part": "ETag",
    "complete_multipart_upload": "ETag",
    "list_objects_v2": "IsTruncated",
}
"""What a true answer has. boto3 takes the page of a proxy or portal for an answer with nothing in it."""

# At DEBUG botocore logs session tokens and signatures.
for _name in ("boto3", "botocore", "s3transfer"):
    logging.getLogger(_name).setLevel(logging.WARNING)


def open(argument: str, settings: Settings) -> "S3Target":
    """The bucket that `s3:bucket/prefix` names.

    Raises `ConfigurationError` when there is none or the endpoint does not fit, `UsageError` for a prefix
    that is no plain path.
    """
    bucket, _, prefix = argument.partition("/")
    if not bucket:
        raise ConfigurationError(
            "The target `s3` needs a bucket.", hint="Set LSE_TARGET=s3:bucket or s3:bucket/prefix."
        )
    return S3Target(bucket, "/".join(checked_path(prefix)) if prefix else "", settings.s3_endpoint)


@dataclass(frozen=True, slots=True)
class _Held:
    """An object as the bucket describes it."""

    content: Measure
    properties: Mapping[str, str]
    etag: str


class S3Target:
    """The objects of one bucket below a prefix. May be used by several threads."""

    name = "s3"

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        endpoint: str | None = None,
        *,
        policy: RetryPolicy | None = None,
        read_seconds: float = READ_SECONDS,
        part_bytes: int = PART_BYTES,
    ) -> None:
        """`part_bytes` is at least 5 MiB on Amazon's servers. Nothing is sent before the first use."""
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._place = f"s3://{bucket}/{self._prefix}"
        self._endpoint = endpoint
        self._part_bytes = part_bytes
        self._policy = policy or RetryPolicy()
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=read_seconds,
            # The policy above is the one owner of retries: it has a deadline in all, and heeds Retry-After.
            retries={"mode": "standard", "total_max_attempts": 1},
            # Servers other than Amazon's often know no checksum but Content-MD5, which every request carries.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"} if endpoint else None,
        )
        with translated():
            self._client = boto3.session.Session().client("s3", endpoint_url=endpoint, config=config)
        self._client.meta.events.register_first("needs-retry.s3", refuse_redirect)

    def check(self) -> str:
        try:
            self._policy.within(CHECK_SECONDS).run(lambda: self._call_once("head_bucket"))
        except NotFoundError as error:
            raise ConfigurationError(
                f"There is no bucket {self._bucket} at {self._server}.",
                hint="Make it, or check LSE_TARGET=s3:bucket/prefix and LSE_S3_ENDPOINT.",
            ) from error
        kept = "versions" if self._keeps_versions() else "copies in .trash"
        return f"{self._place} at {self._server}, what is replaced is kept as {kept}"

    def put(
        self, path: str, file: Path, properties: Mapping[str, str], progress: Progress | None = None
    ) -> StoredObject:
        """As every target. Properties beyond S3's 2 KB are left out."""
        key, source = self._key(path), measure(file)
        wanted = _fitting(properties)
        for _ in range(ATTEMPTS):
            try:
                self._make_hold(path, file, source, wanted, progress)
            except ChangedError as error:
                log.info("%s Somebody else writes %s; looking again.", error, path)
            held = self._head(key)
            if held is not None and held.content == source:
                return self._stored(path, held)
        raise DifferencesFound(f"{self._place} does not hold {path} as it was sent.", hint="Upload it again.")

    def find(self, path: str) -> StoredObject | None:
        held = self._head(self._key(path))
        return self._stored(path, held) if held else None

    def get(self, path: str, file: Path, progress: Progress | None = None) -> StoredObject:
        key = self._key(path)
        for _ in range(ATTEMPTS):
            held = self._head(key)
            if held is None:
                raise self._missing(path)
            try:
                with atomic_file(file) as sink:
                    self._download(key, held, sink, progress)
                return self._stored(path, held)
            except (DifferencesFound, ChangedError) as error:
                log.warning("%s Fetching %s again.", error, path)
        raise DifferencesFound(f"{path} arrives damaged from {self._place}.", hint="Upload it again.")

    def read(self, path: str, start: int, length: int) -> bytes:
        held = self._head(self._key(path))
        if held is None:
            raise self._missing(path)
        end = min(start + length, held.content.size)
        return self._range(self._key(path), start, end, held.etag) if start < end else b""

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
            for paths in self._pages(prefix):
                yield from filter(None, pool.map(self.find, paths))

    def trash(self, path: str) -> None:
        """Delete the object after copying it to `.trash`, or behind a marker in a bucket with versions."""
        key = self._key(path)
        held = self._head(key)
        if held is not None:
            self._keep(path, held)
            self._call("delete_object", Key=key, IfMatch=held.etag)

    def close(self) -> None:
        self._client.close()

    @property
    def _server(self) -> str:
        return str(self._client.meta.endpoint_url)

    def _key(self, path: str) -> str:
        return self._prefix + "/".join(checked_path(path))

    def _call(self, operation: str, **arguments: Any) -> Any:
        """What the server answers to an operation of boto3's client on our bucket, tried again as needed."""
        return self._policy.run(lambda: self._call_once(operation, **arguments))

    def _call_once(self, operation: str, **arguments: Any) -> Any:
        with translated():
            answer = getattr(self._client, operation)(Bucket=self._bucket, **arguments)
        if operation in _MARKS and _MARKS[operation] not in answer:
            raise TemporaryError("Something else than an S3 server answered.")
        return answer

    def _head(self, key: str) -> _Held | None:
        try:
            answer = self._call("head_object", Key=key)
        except NotFoundError:
            return None
        metadata, etag = answer["Metadata"], str(answer["ETag"])
        # Whoever else uploaded it left no md5; the ETag of an upload in one piece mostly is one.
        content = Measure(int(answer["ContentLength"]), metadata.get("md5", etag.strip('"')))
        return _Held(content, _parsed(metadata.get("properties", "{}")), etag)

    def _pages(self, prefix: str) -> Iterator[Iterable[str]]:
        """The paths below `prefix`, page by page, without what begins with a dot."""
        arguments = {"Prefix": self._prefix + prefix}
        while True:
            page = self._call("list_objects_v2", **arguments)
            paths = [str(entry["Key"]).removeprefix(self._prefix) for entry in page.get("Contents", [])]
            yield [path for path in paths if _is_ours(path)]
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    def _make_hold(
        self, path: str, file: Path, source: Measure, wanted: Mapping[str, str], progress: Progress | None
    ) -> None:
        """Make `source` the object at `path`; `ChangedError` when somebody else wrote there meanwhile."""
        key, metadata = self._key(path), _metadata(source, wanted)
        held = self._head(key)
        if held is None or held.content != source:
            if held:
                self._keep(path, held)
            only_if = {"IfMatch": held.etag} if held else {"IfNoneMatch": "*"}
            self._send(key, file, source, metadata, only_if, progress)
        elif held.properties != wanted:
            self._copy(key, key, held.etag, metadata)

    def _keep(self, path: str, held: _Held) -> None:
        """Copy what is about to go to `.trash`, unless the bucket keeps it as a version."""
        if not self._keeps_versions():
            kept = f"{self._prefix}.trash/{path}.{held.content.md5}"
            self._copy(self._key(path), kept, held.etag, _metadata(held.content, held.properties))

    def _keeps_versions(self) -> bool:
        try:
            return bool(self._call("get_bucket_versioning").get("Status") == "Enabled")
        except AccessError:
            return False  # not everybody may ask; a copy too many does no harm

    def _copy(self, key: str, to: str, etag: str, metadata: Mapping[str, str]) -> None:
        """Copy within the bucket, in parts when it must be."""
        arguments = {"CopySourceIfMatch": etag, "MetadataDirective": "REPLACE", "Metadata": dict(metadata)}
        self._call(
            "copy",
            Key=to,
            CopySource={"Bucket": self._bucket, "Key": key},
            ExtraArgs=arguments | {"ContentType": "application/zip"},
            Config=TransferConfig(
                multipart_threshold=COPY_BYTES, multipart_chunksize=COPY_BYTES, use_threads=False
            ),
        )

    def _send(
        self,
        key: str,
        file: Path,
        source: Measure,
        metadata: Mapping[str, str],
        only_if: Mapping[str, str],
        progress: Progress | None,
    ) -> None:
        described = {"Key": key, "Metadata": dict(metadata), "ContentType": "application/zip"}
        with file.open("rb") as content:
            if source.size > self._part_bytes:
                self._send_parts(described, content, source, only_if, progress)
                return
            body = content.read(source.size + 1)
        _must_be(Measure(len(body), new_md5(body).hexdigest()), source)
        self._call("put_object", **described, **only_if, **_checked(body))
        if progress:
            progress(source.size)

    def _send_parts(
        self,
        described: Mapping[str, Any],
        content: BinaryIO,
        source: Measure,
        only_if: Mapping[str, str],
        progress: Progress | None,
    ) -> None:
        """Upload in parts. The object appears when the last request is answered, or not at all."""
        upload = {
            "Key": described["Key"],
            "UploadId": self._call("create_multipart_upload", **described)["UploadId"],
        }
        try:
            parts = [*self._sent_parts(upload, content, source, progress)]
            self._call("complete_multipart_upload", **upload, **only_if, MultipartUpload={"Parts": parts})
        except BaseException:  # also an interrupt: parts that nobody completes cost storage
            self._abort(upload)
            raise

    def _sent_parts(
        self, upload: Mapping[str, str], content: BinaryIO, source: Measure, progress: Progress | None
    ) -> Iterator[dict[str, Any]]:
        """Send one part after the other; number and ETag of each, by which the whole is put together."""
        digest, sent = new_md5(), 0
        for number in count(1):
            body = content.read(self._part_bytes)
            if not body:
                break
            answer = self._call("upload_part", **upload, PartNumber=number, **_checked(body))
            yield {"PartNumber": number, "ETag": answer["ETag"]}
            digest.update(body)
            sent += len(body)
            if progress:
                progress(sent)
        _must_be(Measure(sent, digest.hexdigest()), source)

    def _abort(self, upload: Mapping[str, str]) -> None:
        try:
            self._call("abort_multipart_upload", **upload)
        except LseError as error:
            log.warning(
                "The parts of an upload to %s stay until the bucket drops them: %s", self._place, error
            )

    def _download(self, key: str, held: _Held, sink: BinaryIO, progress: Progress | None) -> None:
        """Write the content to `sink`; `DifferencesFound` when its md5 is not the one noted with it."""
        size, digest, offset = held.content.size, new_md5(), 0
        while offset < size:
            content = self._range(key, offset, min(offset + DOWNLOAD_BYTES, size), held.etag)
            sink.write(content)
            digest.update(content)
            offset += len(content)
            if progress:
                progress(offset)
        if digest.hexdigest() != held.content.md5:
            raise DifferencesFound("What arrived is not what was uploaded.")

    def _range(self, key: str, start: int, end: int, etag: str) -> bytes:
        """The bytes from `start` to before `end`; a server that ignores ranges is answered by cutting."""

        def once() -> bytes:
            with translated():
                answer = self._client.get_object(
                    Bucket=self._bucket, Key=key, Range=f"bytes={start}-{end - 1}", IfMatch=etag
                )
                content = bytes(answer["Body"].read())
            content = content if "ContentRange" in answer else content[start:end]
            if answer.get("ETag") != etag or len(content) != end - start:
                raise TemporaryError("The S3 server sent something else than the part asked for.")
            return content

        return self._policy.run(once)

    def _stored(self, path: str, held: _Held) -> StoredObject:
        content = held.content
        return StoredObject(
            path, self._key(path), content.size, content.md5, held.properties, self._place + path
        )

    def _missing(self, path: str) -> IncompleteError:
        return IncompleteError(
            f"{self._place} holds no {path}.", hint="Upload it first: `lse archive upload`."
        )


def _is_ours(path: str) -> bool:
    """Whether a target could have put it there: no trash, no "folder" that a console made."""
    try:
        return bool(checked_path(path))
    except UsageError:
        return False


def _must_be(sent: Measure, source: Measure) -> None:
    if sent != source:
        raise DifferencesFound("The file changed while it was uploaded.", hint="Run the command again.")


def _checked(body: bytes) -> dict[str, Any]:
    """A body with the checksum by which the server refuses it when it arrives damaged."""
    return {"Body": body, "ContentMD5": base64.b64encode(new_md5(body).digest()).decode()}


def _metadata(content: Measure, properties: Mapping[str, str]) -> dict[str, str]:
    """Metadata are headers, so only ASCII will do."""
    return {"md5": content.md5, "properties": json.dumps(dict(properties), sort_keys=True)}


def _parsed(text: str) -> dict[str, str]:
    """The properties in an object's metadata; none when somebody else wrote other things there."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}


def _fitting(properties: Mapping[str, str]) -> dict[str, str]:
    """`properties` without those for which S3 has no room, the shorter ones first."""
    fitting: dict[str, str] = {}
    for name in sorted(properties, key=lambda name: len(json.dumps([name, properties[name]]))):
        longer = fitting | {name: properties[name]}
        if len(json.dumps(longer)) > PROPERTY_BYTES:
            log.warning("Too long for S3, left out: %s.", name)
        else:
            fitting = longer
    return fitting
