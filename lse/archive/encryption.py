"""Whole archives encrypted with age (age-encryption.org/v1), by public key.

The library, pyrage, is an extra of the package and imported when something is encrypted or decrypted. Both
stream, so that memory does not grow with the archive (measured: 11 MB for 300 MB, at 400 to 600 MB/s).
"""

import hashlib
import stat
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from lse.archive.files import atomic_file
from lse.archive.layout import archive_name
from lse.archive.trace_file import DamagedArchive
from lse.errors import AccessError, ConfigurationError, TemporaryError
from lse.models import ProjectDay

SUFFIX = ".age"


def encrypted_name(day: ProjectDay) -> str:
    """The path of a day's encrypted zip in every target."""
    return archive_name(day) + SUFFIX


def is_encrypted(path: str) -> bool:
    """Whether the object at `path` is an encrypted archive, by its name."""
    return path.endswith(SUFFIX)


def parse_recipients(keys: str) -> tuple[str, ...]:
    """The public keys in the text of LSE_AGE_RECIPIENT, sorted, each once. Raises `ConfigurationError`."""
    pyrage = _pyrage()
    found = sorted({key.strip() for key in keys.split(",") if key.strip()})
    for number, key in enumerate(found, 1):
        try:
            pyrage.x25519.Recipient.from_str(key)
        except pyrage.RecipientError as error:
            raise ConfigurationError(
                f"Key {number} of LSE_AGE_RECIPIENT is no age public key.",
                hint="Public keys begin with `age1`; `age-keygen -y FILE` prints the one of an identity.",
            ) from error
    if not found:
        raise ConfigurationError("LSE_AGE_RECIPIENT holds no key.", hint="Set it to a key `age1...`.")
    return tuple(found)


def fingerprint(recipients: Sequence[str]) -> str:
    """A SHA-256 that tells one set of recipients from another."""
    return hashlib.sha256("\n".join(recipients).encode()).hexdigest()


def encrypt_file(plain: Path, encrypted: Path, recipients: Sequence[str]) -> None:
    """Write `plain` encrypted to `encrypted`, whole or not at all. No two results have the same bytes."""
    pyrage = _pyrage()
    keys = [pyrage.x25519.Recipient.from_str(key) for key in recipients]
    encrypted.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with plain.open("rb") as source, atomic_file(encrypted) as sink:
        try:
            pyrage.encrypt_io(source, sink, keys)
        except pyrage.EncryptError as error:  # with keys that were parsed, only a write can fail
            raise TemporaryError(
                f"{encrypted} could not be written.", hint="Is the disk full? Make room, then run it again."
            ) from error


def decrypt_file(encrypted: Path, plain: Path, identity: Path) -> None:
    """Write `encrypted` decrypted to `plain`, whole or not at all.

    Raises `AccessError` when the identity is not one of those it was encrypted for, `DamagedArchive` when the
    file is not as it was written, and `ConfigurationError` for an identity file that cannot be used.
    """
    pyrage, keys = _pyrage(), _read_identities(identity)
    with encrypted.open("rb") as source, atomic_file(plain) as sink:
        try:
            pyrage.decrypt_io(source, sink, keys)
        except pyrage.DecryptError as error:
            if "matching keys" in str(error):
                raise AccessError(
                    f"{encrypted.name} was encrypted for another key than that in {identity}.",
                    hint="Set LSE_AGE_IDENTITY to the file with the private key of its recipient.",
                ) from error
            raise _damaged(encrypted) from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise _damaged(encrypted) from error  # pyrage's own, without a number of the system


def _read_identities(path: Path) -> list[Any]:
    """The private keys in a file as `age-keygen` writes it: one per line, beside comments."""
    pyrage = _pyrage()
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        lines = path.read_text("utf-8").splitlines() if not mode & 0o077 else []
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(
            f"The age identity {path} cannot be read: {reason}.", hint="Check LSE_AGE_IDENTITY."
        ) from error
    if mode & 0o077:
        raise ConfigurationError(
            f"The age identity {path} may be read by others (mode {mode:04o}).", hint=f"chmod 600 {path}"
        )
    try:
        keys = [pyrage.x25519.Identity.from_str(line.strip()) for line in lines if _is_key(line)]
    except pyrage.IdentityError as error:
        raise _no_identity(path) from error
    if not keys:
        raise _no_identity(path)
    return keys


def _is_key(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")


def _no_identity(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path} holds no age identity.", hint="`age-keygen -o FILE` makes one; set LSE_AGE_IDENTITY to it."
    )


def _damaged(path: Path) -> DamagedArchive:
    return DamagedArchive(
        f"{path.name} is damaged: it cannot be decrypted.",
        hint="Compare the copies with `lse archive verify --deep`.",
    )


def _pyrage() -> Any:
    try:
        return import_module("pyrage")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "Encryption needs the package pyrage, which is not installed.", hint="pip install 'lse[age]'"
        ) from error
