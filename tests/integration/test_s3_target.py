"""A bucket that misbehaves: moto's S3 server behind a relay that can fail, through the real boto3."""

import base64
import dataclasses
import hashlib
import http.client
import logging
import random
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from moto.server import ThreadedMotoServer

from lse.errors import AccessError, ConfigurationError, DifferencesFound, LseError, TemporaryError
from lse.sandbox.faults import Rule
from lse.sandbox.http import Request, Response, Server, route
from lse.settings import Settings
from lse.targets._retry import RetryPolicy
from lse.targets.s3 import S3Target, open

PART = 5 * 1024 * 1024
"""The smallest part that S3 takes."""
CONTENT = random.Random(1).randbytes(2 * PART + 1000)
MD5 = hashlib.md5(CONTENT).hexdigest()
PATH = "my-project/2025-09-13.zip"
FAST = RetryPolicy(base=0.001, cap=0.01, retry_after_cap=0.05, total=5)


class Relay(Server):
    """Hands every request to moto, and does two things that S3 does and moto leaves out: it checks
    Content-MD5, and the conditions under which an upload in parts is completed."""

    fault_actions = frozenset({"damage"})

    def __init__(self, behind: str) -> None:
        super().__init__()
        self._behind = urlsplit(behind).netloc
        self.written = threading.Lock()

    def find(self, request: Request) -> Callable[[Request], Response]:
        handler = super().find(request)
        what = next(
            (word for word in ("uploads", "partNumber", "uploadId", "versioning") if word in request.query),
            "",
        )
        depth = "object" if request.path.count("/") > 1 else "bucket"
        copy = "copy" if "x-amz-copy-source" in request.headers else ""
        request.operation = f"{request.method} {copy or what or depth}"
        return handler

    def error_response(self, status: int, reason: str = "") -> Response:
        body = f"<Error><Code>{reason or 'InternalError'}</Code><Message>secret words</Message></Error>"
        return Response(status, {"Content-Type": "application/xml"}, body.encode())

    @route("GET", "/{rest:path}")
    @route("HEAD", "/{rest:path}")
    @route("PUT", "/{rest:path}")
    @route("POST", "/{rest:path}")
    @route("DELETE", "/{rest:path}")
    def relay(self, request: Request) -> Response:
        if "damage" in request.faults and request.method == "PUT":
            request.body = b"X" + request.body[1:]
        digest = base64.b64encode(hashlib.md5(request.body).digest()).decode()
        if request.headers.get("Content-MD5", digest) != digest:
            return self.error_response(400, "BadDigest")
        with self.written:
            if request.operation == "POST uploadId" and self._refused(request):
                return self.error_response(412, "PreconditionFailed")
            answer = self._forward(request.method, request)
        if "damage" in request.faults and request.method == "GET":
            answer.body = b"X" + answer.body[1:]
        return answer

    def _refused(self, request: Request) -> bool:
        there = self._forward("HEAD", Request("HEAD", request.path, {}, request.headers))
        wanted = request.headers.get("If-Match")
        return there.status == 200 if wanted is None else there.headers.get("ETag") != wanted

    def _forward(self, method: str, request: Request) -> Response:
        query = "&".join(f"{k}={v}" if v else k for k, (v, *_) in request.query.items())
        headers = {k: v for k, v in request.headers.items() if k.lower() not in ("content-length", "expect")}
        connection = http.client.HTTPConnection(self._behind, timeout=30)
        connection.request(method, request.path + (f"?{query}" if query else ""), request.body, headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        kept = {
            k: v
            for k, v in answer.getheaders()
            if k.lower() not in ("connection", "transfer-encoding", "date")
        }
        length = kept.pop("Content-Length", "0")
        if method == "HEAD":
            body = bytes(int(length))  # not sent, only counted
        return Response(answer.status, kept, body)


class Lab:
    """A bucket, the relay in front of it, a file to upload, and as many targets as a test wants."""

    def __init__(self, folder: Path, moto: str, bucket: str) -> None:
        self.folder, self.moto, self.bucket = folder, moto, bucket
        self.relay = Relay(moto).start()
        self.file = folder / "day.zip"
        self.file.write_bytes(CONTENT)
        self.client = boto3.client("s3", endpoint_url=moto)
        self.client.create_bucket(Bucket=bucket)
        self._opened: list[S3Target] = []

    def target(self, *, policy: RetryPolicy = FAST, read_seconds: float = 5, bucket: str = "") -> S3Target:
        target = S3Target(
            bucket or self.bucket,
            "lse",
            self.relay.url,
            policy=policy,
            read_seconds=read_seconds,
            part_bytes=PART,
        )
        self._opened.append(target)
        return target

    def fault(self, operation: str, do: dict[str, Any], *, skip: int = 0, times: int | None = 1) -> None:
        self.relay.faults.add(Rule(do, operation=operation, skip=skip, times=times))

    def names(self) -> list[str]:
        return [e["Key"] for e in self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])]

    def unfinished(self) -> int:
        """How many uploads in parts were begun and neither completed nor aborted."""
        return len(self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []))

    def close(self) -> None:
        for target in self._opened:
            target.close()
        self.client.close()
        self.relay.stop()


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def lab(tmp_path: Path, moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "sandbox")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sandbox-secret")
    made = Lab(tmp_path, moto, re.sub("[^a-z0-9]", "-", tmp_path.name.lower()).strip("-") + "-lab")
    yield made
    made.close()


UPLOAD_FAULTS: dict[str, tuple[str, dict[str, Any], int]] = {
    # name: operation, action, times
    "503 at the start": ("POST uploads", {"status": 503, "reason": "SlowDown"}, 2),
    "500 on a part": ("PUT partNumber", {"status": 500}, 2),
    "503 with HTML": ("PUT partNumber", {"status": 503, "format": "html"}, 2),
    "503 without a body": ("PUT partNumber", {"status": 503, "format": "empty"}, 1),
    "Retry-After": ("PUT partNumber", {"status": 503, "headers": {"Retry-After": "60"}}, 1),
    "request timeout": ("PUT partNumber", {"status": 400, "reason": "RequestTimeout"}, 1),
    "part damaged on the way": ("PUT partNumber", {"damage": True}, 1),
    "part stored, answer lost": ("PUT partNumber", {"handle_then_reset": True}, 1),
    "reset while sending": ("PUT partNumber", {"reset_reading": 100_000}, 1),
    "a part hangs": ("PUT partNumber", {"hang": 2}, 1),
    "completed, answer lost": ("POST uploadId", {"handle_then_reset": True}, 1),
    "completed, then 503": ("POST uploadId", {"handle_then_status": 503}, 1),
    "completion answers HTML": ("POST uploadId", {"html": True}, 1),
    "upload forgotten": ("POST uploadId", {"status": 404, "reason": "NoSuchUpload"}, 1),
    "somebody was faster": ("POST uploadId", {"status": 409, "reason": "ConditionalRequestConflict"}, 1),
    "a part answers HTML": ("PUT partNumber", {"html": True}, 1),
    "the question answers HTML": ("HEAD object", {"html": True}, 1),
    "the question fails": ("HEAD object", {"status": 500}, 2),
}


@pytest.mark.parametrize("name", UPLOAD_FAULTS)
def test_an_upload_in_parts_survives(lab: Lab, name: str) -> None:
    operation, do, times = UPLOAD_FAULTS[name]
    lab.fault(operation, do, times=times)
    stored = lab.target(read_seconds=0.5 if "hang" in do else 5).put(
        PATH, lab.file, {"project": "my-project"}
    )
    assert lab.relay.faults.describe()["rules"][0]["fired"] == times
    assert (stored.size, stored.md5) == (len(CONTENT), MD5)
    assert lab.client.get_object(Bucket=lab.bucket, Key=f"lse/{PATH}")["Body"].read() == CONTENT
    assert (lab.names(), lab.unfinished()) == ([f"lse/{PATH}"], 0)


@pytest.mark.parametrize(
    "do",
    [
        {"status": 503},
        {"damage": True},
        {"handle_then_reset": True},
        {"reset_reading": 3},
        {"handle_then_status": 500},
    ],
)
def test_a_small_upload_survives(lab: Lab, do: dict[str, Any]) -> None:
    lab.file.write_bytes(b"hello")
    lab.fault("PUT object", do)
    assert lab.target().put(PATH, lab.file, {}).md5 == "5d41402abc4b2a76b9719d911017c592"
    assert lab.names() == [f"lse/{PATH}"]


@pytest.mark.parametrize("size", [0, PART - 1, PART, PART + 1, 2 * PART])
def test_sizes_around_a_part_arrive_whole(lab: Lab, size: int) -> None:
    lab.file.write_bytes(CONTENT[:size])
    target = lab.target()
    assert target.put(PATH, lab.file, {}).size == size
    target.get(PATH, lab.folder / "copy.zip")
    assert (lab.folder / "copy.zip").read_bytes() == CONTENT[:size]


def test_what_is_replaced_or_trashed_is_kept_as_a_copy(lab: Lab) -> None:
    target = lab.target()
    target.put(PATH, lab.file, {"date": "2025-09-13"})
    lab.file.write_bytes(b"later")
    target.put(PATH, lab.file, {})
    target.trash(PATH)
    later = hashlib.md5(b"later").hexdigest()
    assert lab.names() == sorted(f"lse/.trash/{PATH}.{md5}" for md5 in (MD5, later))
    kept = lab.client.get_object(Bucket=lab.bucket, Key=f"lse/.trash/{PATH}.{MD5}")
    assert kept["Body"].read() == CONTENT
    assert kept["Metadata"] == {"md5": MD5, "properties": '{"date": "2025-09-13"}'}
    assert list(target.list()) == []


def test_a_bucket_with_versions_keeps_them_instead(lab: Lab) -> None:
    lab.client.put_bucket_versioning(Bucket=lab.bucket, VersioningConfiguration={"Status": "Enabled"})
    target = lab.target()
    assert target.check().endswith("what is replaced is kept as versions")
    target.put(PATH, lab.file, {})
    lab.file.write_bytes(b"later")
    target.put(PATH, lab.file, {})
    target.trash(PATH)
    assert lab.names() == []
    versions = lab.client.list_object_versions(Bucket=lab.bucket)["Versions"]
    assert sorted(v["Size"] for v in versions) == [5, len(CONTENT)]


def test_who_may_not_ask_for_versions_keeps_copies(lab: Lab) -> None:
    lab.fault("GET versioning", {"status": 403, "reason": "AccessDenied"}, times=None)
    target = lab.target()
    target.put(PATH, lab.file, {})
    target.trash(PATH)
    assert lab.names() == [f"lse/.trash/{PATH}.{MD5}"]


def test_two_writers_at_once_leave_one_whole_object_and_lose_nothing(lab: Lab) -> None:
    contents = {name: name.encode() * 3_000_000 for name in ("aa", "bb", "cc")}
    errors: list[LseError] = []

    def put(name: str) -> None:
        file = lab.folder / name
        file.write_bytes(contents[name])
        try:
            lab.target().put(PATH, file, {})
        except (TemporaryError, DifferencesFound) as error:  # somebody else's content came last
            errors.append(error)

    threads = [threading.Thread(target=put, args=(name,)) for name in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    md5s = {hashlib.md5(content).hexdigest() for content in contents.values()}
    last = lab.target().find(PATH)
    assert last is not None
    assert last.md5 in md5s
    kept = {key.rpartition(".")[2] for key in lab.names() if ".trash/" in key}
    assert kept <= md5s - {last.md5}
    assert len(kept) >= 2 - len(errors)
    assert lab.unfinished() == 0


def test_a_file_that_changes_while_it_is_uploaded_never_appears(lab: Lab) -> None:
    def change(sent: int) -> None:
        lab.file.write_bytes(CONTENT[::-1])

    with pytest.raises(DifferencesFound, match="changed while it was uploaded"):
        lab.target().put(PATH, lab.file, {}, change)
    assert (lab.names(), lab.unfinished()) == ([], 0)


KILLED = """
import os, sys
from pathlib import Path
from lse.targets.s3 import S3Target
target = S3Target(sys.argv[2], "lse", sys.argv[1], part_bytes=5242880)
target.put(sys.argv[3], Path(sys.argv[4]), {}, lambda sent: os.kill(os.getpid(), 9))
"""


def test_a_killed_upload_leaves_no_object_and_the_next_one_succeeds(lab: Lab) -> None:
    command = [sys.executable, "-c", KILLED, lab.relay.url, lab.bucket, PATH, str(lab.file)]
    assert subprocess.run(command, check=False, timeout=60).returncode == -9
    assert lab.names() == []
    assert lab.target().put(PATH, lab.file, {}).md5 == MD5


def test_an_interrupted_upload_takes_its_parts_back(lab: Lab) -> None:
    def interrupt(sent: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lab.target().put(PATH, lab.file, {}, interrupt)
    assert (lab.names(), lab.unfinished()) == ([], 0)


DOWNLOAD_FAULTS: dict[str, dict[str, Any]] = {
    "503": {"status": 503},
    "reset in the middle": {"reset_middle": True},
    "cut short": {"truncate": 1000},
    "damaged once": {"damage": True},
    "hang": {"hang": 2},
    "HTML": {"html": True},
    "changed meanwhile": {"status": 412, "reason": "PreconditionFailed"},
}


@pytest.mark.parametrize("name", DOWNLOAD_FAULTS)
def test_a_download_survives(lab: Lab, name: str) -> None:
    target = lab.target(read_seconds=0.5 if name == "hang" else 5)
    target.put(PATH, lab.file, {})
    lab.fault("GET object", DOWNLOAD_FAULTS[name])
    target.get(PATH, lab.folder / "copy.zip")
    assert (lab.folder / "copy.zip").read_bytes() == CONTENT


def test_a_damaged_object_never_gets_the_final_name(lab: Lab) -> None:
    target = lab.target()
    target.put(PATH, lab.file, {})
    lab.fault("GET object", {"damage": True}, times=None)
    copies = lab.folder / "copies"
    copies.mkdir()
    with pytest.raises(DifferencesFound, match="arrives damaged"):
        target.get(PATH, copies / "day.zip")
    assert list(copies.iterdir()) == []


def test_objects_that_others_put_there_are_seen_and_replaced_with_a_copy_kept(lab: Lab) -> None:
    for key in (PATH, "my-project/", "notes.txt"):
        lab.client.put_object(
            Bucket=lab.bucket, Key=f"lse/{key}", Body=b"hello", Metadata={"properties": "[1]"}
        )
    target = lab.target()
    assert [(o.path, o.md5) for o in target.list("my-")] == [(PATH, "5d41402abc4b2a76b9719d911017c592")]
    target.put(PATH, lab.file, {})
    assert f"lse/.trash/{PATH}.5d41402abc4b2a76b9719d911017c592" in lab.names()


def test_a_page_of_a_portal_is_not_an_empty_list(lab: Lab) -> None:
    lab.file.write_bytes(b"hello")
    target = lab.target()
    target.put(PATH, lab.file, {})
    lab.fault("GET bucket", {"html": True})
    assert [o.path for o in target.list()] == [PATH]
    lab.fault("GET object", {"html": True})
    assert target.read(PATH, 1, 3) == b"ell"


def test_more_than_a_page_is_listed(lab: Lab) -> None:
    lab.file.write_bytes(b"hello")
    target = lab.target()
    for day in range(10, 15):
        target.put(f"my-project/2025-09-{day}.zip", lab.file, {})
    whole = target._client.list_objects_v2
    target._client.list_objects_v2 = lambda **arguments: whole(**arguments, MaxKeys=2)
    assert [o.path[-6:] for o in target.list()] == ["10.zip", "11.zip", "12.zip", "13.zip", "14.zip"]


def test_properties_beyond_the_limit_are_left_out_longest_first(lab: Lab) -> None:
    lab.file.write_bytes(b"hello")
    stored = lab.target().put(PATH, lab.file, {"project": "ü" * 400, "date": "2025-09-13"})
    assert dict(stored.properties) == {"date": "2025-09-13"}


@pytest.mark.parametrize(
    ("status", "reason", "kind", "words"),
    [
        (403, "AccessDenied", AccessError, r"answered 403 \(AccessDenied\)"),
        (403, "InvalidAccessKeyId", AccessError, "InvalidAccessKeyId"),
        (400, "ExpiredToken", AccessError, "ExpiredToken"),
        (403, "RequestTimeTooSkewed", ConfigurationError, "RequestTimeTooSkewed"),
        (404, "NoSuchBucket", ConfigurationError, "NoSuchBucket"),
        (501, "NotImplemented", LseError, "not understood"),
    ],
)
def test_what_no_repetition_cures_is_said_at_once(
    lab: Lab, status: int, reason: str, kind: type[LseError], words: str
) -> None:
    lab.file.write_bytes(b"hello")
    lab.fault("PUT object", {"status": status, "reason": reason}, times=None)
    with pytest.raises(kind, match=words) as caught:
        lab.target().put(PATH, lab.file, {})
    assert type(caught.value) is kind
    assert "secret words" not in str(caught.value)
    assert [e.status for e in lab.relay.log if e.operation == "PUT object"] == [status]


def test_a_bucket_that_is_not_there_is_a_configuration_error(lab: Lab) -> None:
    target = lab.target(bucket="nobody-has-this")
    with pytest.raises(ConfigurationError, match="There is no bucket nobody-has-this at http"):
        target.check()
    with pytest.raises(ConfigurationError, match="NoSuchBucket"):
        list(target.list())


def test_no_credentials_are_a_configuration_error(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(lab.folder))
    with pytest.raises(ConfigurationError, match=r"credentials for S3") as caught:
        lab.target().check()
    assert "AWS_PROFILE" in caught.value.hint


@pytest.mark.parametrize(
    ("argument", "endpoint"), [("a/b", "no address"), ("Not A Bucket", "http://127.0.0.1:9"), ("", None)]
)
def test_settings_that_do_not_fit_are_configuration_errors(
    lab: Lab, argument: str, endpoint: str | None
) -> None:
    with pytest.raises(ConfigurationError):
        open(argument, Settings(_env_file=None, s3_endpoint=endpoint)).check()


def test_a_server_that_is_down_is_temporary(lab: Lab) -> None:
    target = lab.target(policy=dataclasses.replace(FAST, total=0.05))
    lab.relay.stop()
    with pytest.raises(TemporaryError, match="gave no usable answer") as caught:
        target.check()
    assert caught.value.exit_code == 6


def test_a_server_that_stays_busy_is_given_up_in_time(lab: Lab) -> None:
    lab.fault(".*", {"status": 503, "reason": "SlowDown"}, times=None)
    with pytest.raises(TemporaryError, match=r"answered 503"):
        lab.target(policy=dataclasses.replace(FAST, total=0.1)).put(PATH, lab.file, {})


def test_a_redirect_is_not_followed(lab: Lab) -> None:
    with Relay(lab.moto) as other:
        lab.fault("HEAD bucket", {"redirect": f"{other.url}/elsewhere"}, times=None)
        with pytest.raises(ConfigurationError, match="answered 307"):
            lab.target().check()
        assert other.log == ()


def test_secrets_stay_out_of_the_log(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    lab.fault("PUT partNumber", {"status": 503})
    lab.target().put(PATH, lab.file, {})
    for secret in ("sandbox-secret", "Signature", "AWS4"):
        assert secret not in caplog.text


GROWTH = """
import resource, sys
from pathlib import Path
from lse.targets.s3 import S3Target
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
target = S3Target(sys.argv[2], "lse", sys.argv[1], part_bytes=5242880)
target.check()
before = peak()
target.put(sys.argv[3], Path(sys.argv[4]), {})
print((peak() - before) // 1024)
"""


def test_an_upload_holds_no_more_than_a_few_parts_in_memory(lab: Lab) -> None:
    with lab.file.open("wb") as file:
        file.truncate(60 * 1024 * 1024)
    command = [sys.executable, "-c", GROWTH, lab.moto, lab.bucket, PATH, str(lab.file)]
    assert int(subprocess.check_output(command, text=True, timeout=60)) < 25  # MiB


def test_without_boto3_the_hint_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['boto3'] = None\n"
        "from lse.errors import ConfigurationError\n"
        "from lse.settings import Settings\n"
        "from lse.targets import open_target\n"
        "try: open_target('s3:bucket', Settings(_env_file=None))\n"
        "except ConfigurationError as error: print(error.message, error.hint)"
    )
    said = subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60)
    assert said == "The target `s3` needs the library boto3. Type: pip install 'lse[s3]'\n"
