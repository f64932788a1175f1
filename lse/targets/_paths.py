"""The form of an object's path."""

from lse.errors import UsageError

_REFUSED = frozenset({"", ".", ".."})


def checked_path(path: str) -> tuple[str, ...]:
    """The parts of `path`; `UsageError` unless it is plain `folder/name` text that stays where it is put."""
    parts = tuple(path.split("/"))
    if (
        any(part in _REFUSED or part.startswith(".") for part in parts)
        or not path.isprintable()
        or "\\" in path
    ):
        raise UsageError(f"{path!r} is not a path inside a target.", hint="Write it as folder/name.")
    return parts
