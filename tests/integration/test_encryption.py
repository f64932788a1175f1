"""Archives encrypted with age: what a machine with the public key uploads, and who can read it."""

from pathlib import Path
from typing import Any

import pyrage
import pytest
from lab import Lab

from lse.archive.encryption import decrypt_file, encrypt_file, parse_recipients
from lse.archive.layout import archived_files
from lse.archive.trace_file import DamagedArchive
from lse.errors import AccessError, ConfigurationError, DifferencesFound, TemporaryError
from lse.pipeline import exit_code, pack, restore, upload, verify
from lse.sandbox.faults import Rule

OBJECT = "lse/chat/2025-09-13.zip.age"


def make_identity(path: Path) -> str:
    """Write a private key as `age-keygen` does; its public key."""
    identity = pyrage.x25519.Identity.generate()
    path.write_text(f"# created: today\n# public key: {identity.to_public()}\n{identity}\n")
    path.chmod(0o600)
    return str(identity.to_public())


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    return tmp_path / "identity.txt"


@pytest.fixture
def encrypting(lab: Lab, identity: Path) -> Lab:
    """A machine that holds the public key alone."""
    lab.flags["age_recipient"] = make_identity(identity)
    return lab


def chunks(lab: Lab) -> int:
    """How many bytes of content the target took."""
    return sum(entry.bytes_in for entry in lab.sandbox.drive.log if entry.operation == "upload_chunk")


# --- upload


def test_what_is_uploaded_is_encrypted_and_what_is_here_is_not(encrypting: Lab) -> None:
    results = encrypting.sweep()
    assert exit_code(results.values()) == 0
    assert results["upload"].figures["encrypted"] is True
    assert list(encrypting.sandbox.drive.files()) == [OBJECT]
    with encrypting.resources() as resources:
        assert resources.target.read("chat/2025-09-13.zip.age", 0, 21) == b"age-encryption.org/v1"
        resources.source.close()
    assert encrypting.zip.read_bytes()[:2] == b"PK"


def test_an_unchanged_day_is_neither_encrypted_nor_sent_again(encrypting: Lab) -> None:
    encrypting.sweep()
    before = encrypting.sandbox.drive.files()
    encrypting.sandbox.drive.clear_log()
    assert encrypting.step(upload).state == "unchanged"
    encrypting.flags["state_dir"] = encrypting.flags["state_dir"].with_name("fresh")
    assert encrypting.step(upload).state == "unchanged"
    assert (chunks(encrypting), encrypting.sandbox.drive.files()) == (0, before)


def test_another_recipient_gets_an_archive_of_its_own(encrypting: Lab, tmp_path: Path) -> None:
    encrypting.sweep()
    other = tmp_path / "other.txt"
    encrypting.flags["age_recipient"] += f", {make_identity(other)}"
    assert encrypting.step(upload).state == "done"
    assert encrypting.step(upload).state == "unchanged"
    assert encrypting.verify(deep=True, age_identity=other).exit_code == 0


def test_an_upload_that_broke_off_goes_on_with_the_same_bytes(encrypting: Lab) -> None:
    encrypting.sweep("upload")
    full = Rule({"status": 403, "reason": "storageQuotaExceeded"}, operation="upload_chunk", times=None)
    encrypting.sandbox.drive.faults.add(full)
    assert encrypting.sweep()["upload"].state == "failed"
    (kept,) = (encrypting.flags["state_dir"] / "encrypted" / "chat").iterdir()
    encrypted = kept.read_bytes()
    encrypting.sandbox.drive.faults.clear()
    encrypting.step(upload)
    with encrypting.resources() as resources:
        assert resources.target.read("chat/2025-09-13.zip.age", 0, len(encrypted) + 1) == encrypted
        resources.source.close()
    assert not kept.exists()


def test_a_copy_from_before_encryption_stays_and_is_named(lab: Lab, identity: Path) -> None:
    lab.sweep()
    lab.flags["age_recipient"] = make_identity(identity)
    result = lab.step(upload)
    assert result.details == (
        "the target still holds chat/2025-09-13.zip, unencrypted; trash it there when you do not need it",
    )
    assert list(lab.sandbox.drive.files()) == ["lse/chat/2025-09-13.zip", OBJECT]
    assert lab.verify().exit_code == 0


def test_less_than_the_target_holds_is_refused_by_the_counts_alone(encrypting: Lab) -> None:
    encrypting.sweep()
    expired = encrypting.trace()
    encrypting.on_another_machine()
    encrypting.expire(expired)
    result = encrypting.sweep()["upload"]
    assert (result.state, result.exit_code) == ("failed", 3)
    assert result.summary.startswith(
        "The target's chat/2025-09-13.zip.age holds 6 traces where the zip here has 5, "
    )


def test_less_than_the_target_holds_is_refused_by_its_files_where_the_key_is(
    encrypting: Lab, identity: Path
) -> None:
    encrypting.sweep()
    expired = encrypting.trace()
    encrypting.on_another_machine()
    encrypting.expire(expired)
    encrypting.flags["age_identity"] = identity
    encrypting.sweep("upload", "verify")
    with pytest.raises(DifferencesFound, match="holds more of 3 files"):
        encrypting.step(upload)


def test_a_wrong_key_shows_before_a_sweep_begins(lab: Lab) -> None:
    lab.flags["age_recipient"] = "age1nothing"
    with pytest.raises(ConfigurationError, match="no age public key"):
        lab.sweep()
    assert not lab.folder.exists()


# --- verify and restore


def test_verify_compares_by_content_hash_and_reads_it_with_the_key(encrypting: Lab, identity: Path) -> None:
    runs = encrypting.sample.runs
    encrypting.sweep()
    assert encrypting.verify().figures["copies"] == (
        f"files {runs}, zip {runs}, target same content, store {runs}"
    )
    deep = encrypting.verify(deep=True, age_identity=identity)
    assert deep.figures["copies"] == f"files {runs}, zip {runs}, target {runs}, store {runs}"
    assert (encrypting.verify().exit_code, deep.exit_code) == (0, 0)


def test_a_deep_verify_without_the_key_says_what_is_missing(encrypting: Lab) -> None:
    encrypting.sweep()
    with pytest.raises(ConfigurationError, match="is encrypted, and no private key is set") as caught:
        encrypting.verify(deep=True)
    assert (caught.value.exit_code, "LSE_AGE_IDENTITY" in caught.value.hint) == (7, True)


def test_content_that_somebody_put_in_its_place_is_a_difference(encrypting: Lab, tmp_path: Path) -> None:
    encrypting.flags["target"] = f"directory:{tmp_path / 'target'}"
    encrypting.sweep()
    stored = tmp_path / "target" / "chat" / "2025-09-13.zip.age"
    encrypt_file(tmp_path / "key.json", stored, parse_recipients(encrypting.flags["age_recipient"]))
    result = encrypting.verify()
    assert (result.exit_code, result.details) == (3, ("chat/2025-09-13.zip.age differs in target",))


def test_restore_decrypts(encrypting: Lab, identity: Path) -> None:
    encrypting.sweep()
    before = {path.name: path.read_bytes() for path in archived_files(encrypting.folder)}
    encrypting.on_another_machine()
    encrypting.flags.update(age_identity=identity, age_recipient=None)
    assert encrypting.step(restore).state == "done"
    assert {path.name: path.read_bytes() for path in archived_files(encrypting.folder)} == before
    assert encrypting.step(pack).state == "done"
    assert encrypting.step(verify).exit_code == 0


def test_restore_without_the_key_or_with_another_names_the_setting(encrypting: Lab, tmp_path: Path) -> None:
    encrypting.sweep()
    with pytest.raises(ConfigurationError, match="no private key is set"):
        encrypting.step(restore, force=True)
    make_identity(tmp_path / "other.txt")
    encrypting.flags["age_identity"] = tmp_path / "other.txt"
    with pytest.raises(AccessError, match="was encrypted for another key"):
        encrypting.step(restore, force=True)


# --- keys and files


@pytest.mark.parametrize("key", ["age1nothing", "AGE-SECRET-KEY-1QQ", "ssh-ed25519 AAAA"])
def test_what_is_no_public_key_is_refused_without_being_repeated(key: str) -> None:
    with pytest.raises(ConfigurationError, match="Key 1 of LSE_AGE_RECIPIENT is no age public key") as caught:
        parse_recipients(key)
    assert key not in caught.value.message + caught.value.hint


def test_an_identity_that_others_may_read_is_refused(tmp_path: Path, identity: Path) -> None:
    keys = parse_recipients(make_identity(identity))
    identity.chmod(0o640)
    (tmp_path / "plain").write_bytes(b"x")
    encrypt_file(tmp_path / "plain", tmp_path / "sealed", keys)
    with pytest.raises(ConfigurationError, match=r"may be read by others \(mode 0640\)") as caught:
        decrypt_file(tmp_path / "sealed", tmp_path / "opened", identity)
    assert caught.value.hint == f"chmod 600 {identity}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no age identity"),
        ("# only a comment\n", "holds no age identity"),
        ("AGE-SECRET-KEY-1NOTHING\n", "holds no age identity"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_without_an_identity_is_refused(
    tmp_path: Path, identity: Path, content: str | None, message: str
) -> None:
    if content is not None:
        identity.write_text(content)
        identity.chmod(0o600)
    (tmp_path / "sealed").write_bytes(b"x")
    with pytest.raises(ConfigurationError, match=message):
        decrypt_file(tmp_path / "sealed", tmp_path / "opened", identity)


@pytest.mark.parametrize("position", [0, 1000, -1])
def test_a_changed_or_cut_file_is_damaged_and_leaves_nothing(
    tmp_path: Path, identity: Path, position: int
) -> None:
    keys = parse_recipients(make_identity(identity))
    (tmp_path / "plain").write_bytes(b"x" * 200_000)
    encrypt_file(tmp_path / "plain", tmp_path / "sealed", keys)
    content = bytearray((tmp_path / "sealed").read_bytes())
    content[position] ^= 1
    for broken in (bytes(content), bytes(content)[:-50]):
        (tmp_path / "sealed").write_bytes(broken)
        with pytest.raises(DamagedArchive, match="sealed is damaged: it cannot be decrypted"):
            decrypt_file(tmp_path / "sealed", tmp_path / "opened", identity)
        assert not (tmp_path / "opened").exists()


def test_without_the_package_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("lse.archive.encryption.import_module", missing)
    with pytest.raises(ConfigurationError) as caught:
        parse_recipients("age1")
    assert caught.value.hint == "pip install 'lse[age]'"


def test_a_disk_that_fills_up_is_a_fault_that_may_pass(
    tmp_path: Path, identity: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = parse_recipients(make_identity(identity))
    (tmp_path / "plain").write_bytes(b"x")

    def full(source: Any, sink: Any, recipients: Any) -> None:
        raise pyrage.EncryptError("OSError: [Errno 28] No space left on device")

    monkeypatch.setattr(pyrage, "encrypt_io", full)
    with pytest.raises(TemporaryError, match="could not be written"):
        encrypt_file(tmp_path / "plain", tmp_path / "sealed", keys)
    assert not (tmp_path / "sealed").exists()
