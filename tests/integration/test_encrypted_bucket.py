"""Encrypted archives in a bucket, through moto's S3 server: compared, repaired, and restored by the trace."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import boto3
import pytest
from lab import DAY, Lab
from test_encryption import make_identity
from test_s3_target import Relay, moto

from lse.archive.layout import archived_files
from lse.errors import AccessError, ConfigurationError
from lse.pipeline import exit_code, restore_trace, upload
from lse.pipeline.repairing import Fixed, compare_and_fix
from lse.pipeline.undoing import undo

__all__ = ["moto"]

OBJECT = "chat/2025-09-13.zip.age"


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    return tmp_path / "identity.txt"


@pytest.fixture
def bucket(lab: Lab, moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """The server with the bucket that is the target of `lab`."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "sandbox")
    relay, name = Relay(moto), f"archive-{uuid4()}"
    relay.start()
    boto3.client("s3", endpoint_url=moto).create_bucket(Bucket=name)
    lab.flags |= {"target": f"s3:{name}/lse", "s3_endpoint": relay.url}
    yield relay
    relay.stop()


@pytest.fixture
def encrypting(lab: Lab, bucket: Relay, identity: Path) -> Lab:
    """A machine that swept its day into the bucket, with the public key alone."""
    lab.flags["age_recipient"] = make_identity(identity)
    assert exit_code(lab.sweep().values()) == 0
    bucket.clear_log()
    return lab


def reads(bucket: Relay) -> list[int]:
    """How many bytes each read of an object gave."""
    return [entry.bytes_out for entry in bucket.log if entry.operation == "GET object"]


def fix(lab: Lab) -> Fixed:
    with lab.resources() as opened:
        return compare_and_fix(opened, DAY, lambda done, total: None, agree=lambda plan: True)


def contents(lab: Lab) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in archived_files(lab.folder)}


def test_an_encrypted_object_is_uploaded_once_and_compared_at_every_depth(
    encrypting: Lab, bucket: Relay, identity: Path
) -> None:
    runs = encrypting.sample.runs
    with encrypting.resources() as resources:
        assert [stored.path for stored in resources.target.list()] == [OBJECT]
        assert resources.target.read(OBJECT, 0, 21) == b"age-encryption.org/v1"
        resources.source.close()
    bucket.clear_log()
    assert encrypting.step(upload).state == "unchanged"
    compared = encrypting.verify()
    assert compared.figures["copies"] == f"files {runs}, zip {runs}, target same content, store {runs}"
    assert (compared.exit_code, reads(bucket)) == (0, [])
    deep = encrypting.verify(deep=True, age_identity=identity)
    assert deep.figures["copies"] == f"files {runs}, zip {runs}, target {runs}, store {runs}"


def test_what_langsmith_counts_is_compared_with_what_only_the_encrypted_object_holds(
    encrypting: Lab, identity: Path
) -> None:
    runs = encrypting.sample.runs
    encrypting.flags["age_identity"] = identity
    shutil.rmtree(encrypting.folder)
    encrypting.on_another_machine()
    found = encrypting.verify(source=True)
    assert found.figures["copies"] == f"target {runs}, langsmith {runs}"


def test_a_machine_without_the_private_key_repairs_from_what_is_here(encrypting: Lab) -> None:
    before = contents(encrypting)
    encrypting.files()[0].write_bytes(b"damaged")
    fixed = fix(encrypting)
    assert (fixed.failed, fixed.result.exit_code, contents(encrypting)) == ((), 0, before)


def test_files_and_zip_come_back_from_the_encrypted_object_with_the_key_alone(
    encrypting: Lab, identity: Path, tmp_path: Path
) -> None:
    before, packed = contents(encrypting), encrypting.zip.read_bytes()
    for path in archived_files(encrypting.folder):
        path.unlink()
    encrypting.zip.unlink()
    with pytest.raises(ConfigurationError, match="is encrypted, and no private key is set"):
        fix(encrypting)
    make_identity(tmp_path / "other.txt")
    encrypting.flags["age_identity"] = tmp_path / "other.txt"
    assert isinstance(fix(encrypting).failed[0][1], AccessError)
    encrypting.flags["age_identity"] = identity
    fixed = fix(encrypting)
    assert (fixed.failed, fixed.result.exit_code) == ((), 0)
    assert (contents(encrypting), encrypting.zip.read_bytes()) == (before, packed)


def test_an_object_that_somebody_replaced_is_uploaded_again_and_given_back_by_undo(encrypting: Lab) -> None:
    path = encrypting.zip.with_name("other")
    path.write_bytes(b"somebody's")
    with encrypting.resources() as opened:
        target = opened.target
        target.put(OBJECT, path, {"a": "1"})
        fixed = fix(encrypting)
        assert (fixed.failed, fixed.result.exit_code) == ((), 0)
        assert target.read(OBJECT, 0, 21) == b"age-encryption.org/v1"
        assert undo(opened)[1].state == "done"
        found = target.find(OBJECT)
        assert found is not None
        assert (target.read(OBJECT, 0, 21), dict(found.properties)) == (b"somebody's", {"a": "1"})


def test_one_trace_comes_back_by_one_read_of_an_encrypted_object(
    encrypting: Lab, bucket: Relay, identity: Path
) -> None:
    path = encrypting.files()[0]
    content = path.read_bytes()
    trace = encrypting.trace()
    shutil.rmtree(encrypting.folder)
    encrypting.flags["age_identity"] = identity
    assert encrypting.step(restore_trace, trace_id=trace).state == "done"
    assert (path.read_bytes(), len(reads(bucket))) == (content, 1)


def test_one_trace_comes_back_by_two_reads_of_a_plain_object(lab: Lab, bucket: Relay) -> None:
    lab.sweep()
    path = next(path for path in lab.files() if b'],"files":[\n]}' in path.read_bytes())
    content = path.read_bytes()
    shutil.rmtree(lab.folder)
    bucket.clear_log()
    assert lab.step(restore_trace, trace_id=UUID(path.stem[7:])).state == "done"
    assert (path.read_bytes(), len(reads(bucket)) <= 2) == (content, True)
