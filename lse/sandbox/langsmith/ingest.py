"""What clients send: request bodies taken apart into operations on runs, without touching payload texts."""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.parser import HeaderParser
from email.utils import collapse_rfc2231_value
from typing import Any

from lse.archive import jsontext
from lse.sandbox.langsmith import times
from lse.sandbox.langsmith.query import BadRequest
from lse.sandbox.langsmith.runs import BadRun, lenient, own_id

try:
    import zstandard
except ImportError:  # the extra `sandbox` brings it; without it the server does not offer zstd
    HAS_ZSTD = False
    _DAMAGED: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error)
else:
    HAS_ZSTD = True
    _DAMAGED = (OSError, EOFError, zlib.error, zstandard.ZstdError)

_PARTS = frozenset({"inputs", "outputs", "events", "extra", "error", "serialized"})
_NOT_KEPT = frozenset(
    {"session_name", "session_id", "child_runs", "attachments", "address", "status"}
    | {"input_attachments", "output_attachments", "parent_run_ids"}
)
"""What clients say about a run that LangSmith works out itself or does not show."""
_TIMES = ("start_time", "end_time")


@dataclass(frozen=True, slots=True)
class Operation:
    """One change of a run: `verb` is post or patch; `members` are the exact texts sent, nulls left out."""

    verb: str
    run_id: str
    members: Mapping[str, bytes]
    session_name: str | None = None
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that belongs to a run."""

    run_id: str
    name: str
    mime_type: str
    content: bytes


@dataclass(slots=True)
class Batch:
    """Everything that one request asks for, in the order in which it came."""

    operations: list[Operation] = field(default_factory=list)
    uploads: list[Upload] = field(default_factory=list)
    feedback: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart body."""

    name: str
    content_type: str
    content: bytes


def decode(body: bytes, encoding: str) -> bytes:
    """`body` without its Content-Encoding; `BadRequest` when it is damaged or the encoding is unknown.

    zstd bodies are streamed frames that do not say how long they are.
    """
    try:
        match encoding.lower().strip():
            case "" | "identity":
                return body
            case "gzip":
                return gzip.decompress(body)
            case "zstd" if HAS_ZSTD:
                with zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True) as reader:
                    return reader.read()
    except _DAMAGED as error:
        raise BadRequest("the body cannot be decompressed") from error
    raise BadRequest("unknown Content-Encoding", 415)


def multipart(body: bytes, content_type: str) -> list[Part]:
    """The parts of a multipart/form-data body (RFC 7578), unchanged; `BadRequest` when it is none."""
    header = HeaderParser().parsestr(f"Content-Type: {content_type}")
    boundary = header.get_boundary()
    if header.get_content_type() != "multipart/form-data" or not boundary:
        raise BadRequest("the body must be multipart/form-data with a boundary", 422)
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1"))
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise BadRequest("the multipart body ends too early", 422)
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> Part:
    head, separator, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    headers = HeaderParser().parsestr(head.decode("utf-8", "replace"))
    name = headers.get_param("name", header="content-disposition")
    if not separator or name is None:
        raise BadRequest("a part of the multipart body has no name", 422)
    return Part(collapse_rfc2231_value(name), headers.get("Content-Type", ""), content)


def multipart_batch(parts: Iterable[Part]) -> Batch:
    """The operations of `POST /runs/multipart`; `BadRequest` (422) for a part that does not fit."""
    heads: dict[tuple[str, str], dict[str, bytes]] = {}
    batch = Batch()
    for part in parts:
        verb, _, rest = part.name.partition(".")
        if verb in ("post", "patch"):
            run_id, _, key = rest.partition(".")
            if not key:
                heads.setdefault((verb, run_id), {}).update(members(part.content))
            elif key in _PARTS:
                heads.setdefault((verb, run_id), {})[key] = value(part.content)
            else:
                raise BadRequest("unknown part of a run", 422)
        elif verb == "attachment":
            run_id, _, name = rest.partition(".")
            mime_type = part.content_type.split(";")[0].strip() or "application/octet-stream"
            batch.uploads.append(Upload(run_id.lower(), name, mime_type, part.content))
        elif verb == "feedback":
            batch.feedback.append(part.content)
        else:
            raise BadRequest("unknown part of a multipart body", 422)
    batch.operations = [operation(verb, found, run_id) for (verb, run_id), found in heads.items()]
    return batch


def json_batch(body: bytes) -> list[Operation]:
    """The operations of `POST /runs/batch`, `{"post": [...], "patch": [...]}`: posts first."""
    top = members(body)
    lists = ((verb, elements(top.get(verb, b"[]"))) for verb in ("post", "patch"))
    return [operation(verb, members(item)) for verb, items in lists for item in items]


def operation(verb: str, found: Mapping[str, bytes], run_id: str = "") -> Operation:
    """One change of the run that `found` describes; `BadRequest` (422) when no id is in sight.

    JavaScript clients leave the id out of a patch; then it stands at the end of `dotted_order`. Times are
    kept in the form in which the API serves them, all other texts as they came.
    """
    stated = string(found.get("id")) or run_id or own_id(string(found.get("dotted_order")))
    if not stated:
        raise BadRequest("a run has no id", 422)
    kept = {key: text for key, text in found.items() if text != b"null" and key not in _NOT_KEPT}
    for key in _TIMES:
        if key in kept and (at := times.moment(lenient(kept[key]))) is not None:
            kept[key] = f'"{times.naive(at)}"'.encode()
    kept["id"] = json.dumps(stated.lower()).encode()
    return Operation(
        verb,
        stated.lower(),
        kept,
        string(found.get("session_name")) or None,
        string(found.get("session_id")).lower() or None,
    )


def merged(first: Mapping[str, bytes], later: Sequence[Mapping[str, bytes]]) -> dict[str, bytes]:
    """The members of a run after patches: a patch replaces whole members."""
    result = dict(first)
    for patch in later:
        result |= patch
    return result


def members(content: bytes) -> dict[str, bytes]:
    """The members of a JSON object; `BadRequest` (422) when it is none."""
    try:
        check(content)
        return dict(jsontext.members(content))
    except (jsontext.MalformedJson, BadRun) as error:
        raise BadRequest("the body is not a JSON object", 422) from error


def value(content: bytes) -> bytes:
    """One JSON value as it was sent; `BadRequest` (422) when it is none."""
    try:
        check(content)
    except BadRun as error:
        raise BadRequest("a part is not JSON", 422) from error
    return content.strip()


def check(content: bytes) -> Any:
    """`content` as a Python value, or None when it is JSON that Python cannot hold; `BadRun` when it is none.

    Python refuses integers of more than 4,300 digits and deep nesting; such texts are kept all the same
    when their brackets and strings close.
    """
    try:
        return json.loads(content)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadRun("not JSON") from error
    except (ValueError, RecursionError):
        try:
            single = len(jsontext.elements(b"[" + content + b"]")) == 1
        except jsontext.MalformedJson as error:
            raise BadRun("not JSON") from error
        if not single:
            raise BadRun("not JSON") from None
        return None


def batches_in(top: Mapping[str, bytes]) -> Iterator[Mapping[str, bytes]]:
    """The batches in one JSON line: `{"post": ..., "patch": ...}`, or one or a list of them under `batch`."""
    if "batch" not in top:
        yield top
        return
    wrapped = top["batch"]
    for item in elements(wrapped) if wrapped.startswith(b"[") else [wrapped]:
        yield members(item)


def elements(content: bytes) -> list[bytes]:
    """The values of a JSON array, none for null; `BadRequest` (422) when it is no array."""
    if content == b"null":
        return []
    try:
        return jsontext.elements(content)
    except jsontext.MalformedJson as error:
        raise BadRequest("the body holds no list where one belongs", 422) from error


def string(content: bytes | None) -> str:
    """The text that a JSON string holds, empty for anything else."""
    found = lenient(content) if content is not None else None
    return found if isinstance(found, str) else ""
