"""The errors of `lse`, sorted by what the caller should do next.

    LseError                 exit 1    unexpected
    ├── UsageError           exit 2    put the command right
    ├── DifferencesFound     exit 3    copies disagree; look, then repair
    ├── IncompleteError      exit 4    partial or quarantined; run again or look at the quarantine
    ├── AccessError          exit 5    key or permission refused
    ├── TemporaryError       exit 6    try again later; the only kind that is ever retried
    │   └── BusyError        exit 6    somebody else holds the project day
    ├── ConfigurationError   exit 7    a setting is missing or wrong
    └── Interrupted          exit 130  a person or the system stopped the command

A message says what happened and to which item; `hint` says what to type next. Neither ever holds
trace text, keys or passwords: foreign errors are translated where they enter, by kind and code.
"""

import errno
import traceback
from pathlib import Path


class LseError(Exception):
    """Base of all errors that `lse` raises on purpose."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(LseError):
    """The command or an argument is wrong."""

    exit_code = 2


class DifferencesFound(LseError):
    """Copies of a project day disagree."""

    exit_code = 3


class IncompleteError(LseError):
    """The work was done as far as possible; something is missing or quarantined."""

    exit_code = 4


class AccessError(LseError):
    """A key, token or permission was refused. Never retried."""

    exit_code = 5


class TemporaryError(LseError):
    """A fault that may pass: network, rate limit, server error. Safe to retry."""

    exit_code = 6

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class BusyError(TemporaryError):
    """Another process works on the same project day."""


class ConfigurationError(LseError):
    """A setting is missing, contradictory or points at something that is not there."""

    exit_code = 7


class Interrupted(LseError):
    """The command was stopped from outside."""

    exit_code = 130


_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EADDRINUSE, errno.EADDRNOTAVAIL}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE}
_WRONG_PLACE = {errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG}


def from_os_error(error: OSError) -> LseError:
    """What the operating system refused, as one of ours: by what the caller should do about it."""
    place = f"{error.filename}: " if error.filename else ""
    message = f"{place}{error.strerror or type(error).__name__}."
    if error.errno in _DENIED:
        return ConfigurationError(message, hint="Check the permissions, or set another place: `lse config`.")
    if error.errno in _FULL:
        return TemporaryError(message, hint="Make room, then run the command again.")
    if error.errno in _WRONG_PLACE:
        return UsageError(message, hint="Check the path.")
    return TemporaryError(message, hint="Try again.")


def unexpected(error: Exception) -> LseError:
    """An error nobody foresaw: its kind and the place, without its text, which may quote a trace."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    return LseError(
        f"Unexpected {type(error).__name__} at {place}. This is a fault of lse.",
        hint="`lse -vv ...` shows the details, which may quote traces; mind that when you report it.",
    )
