"""Keys of examples: by which they are the same, are counted together, or are drawn."""

import re
from collections.abc import Mapping
from typing import Any

from lse.datasets import Example
from lse.datasets._hashing import canonical
from lse.datasets._paths import parse_path, value_at
from lse.errors import UsageError

_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*://")


def _url(text: str) -> str:
    """A web address without scheme, `www.` and closing slash, in small letters."""
    return _SCHEME.sub("", text.strip().lower()).removeprefix("www.").rstrip("/")


def _domain(text: str) -> str:
    """The host of a web address, without `www.`, user and port."""
    return (
        re.split(r"[/?#]", _url(text), maxsplit=1)[0]
        .rpartition("@")[2]
        .partition(":")[0]
        .removeprefix("www.")
    )


_FORMS = {"lower": lambda text: text.strip().lower(), "url": _url, "domain": _domain}


def check_key(key: str) -> None:
    """Raise `UsageError` when `key` is not a path with at most one of the forms behind it."""
    path, _, form = key.partition("|")
    parse_path(path)
    if "|" in key and form not in _FORMS:
        raise UsageError(f"{key!r} has an unknown form {form!r}.", hint=f"Forms: {', '.join(_FORMS)}.")


def key_of(example: Example, key: str) -> str | None:
    """The value of `key` in `example` as text; None when there is none."""
    path, _, form = key.partition("|")
    value = value_at(example.document(), parse_path(path))
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return _FORMS[form](value) if form else value
    return canonical(value).decode()


def has(example: Example, wanted: Mapping[str, Any]) -> bool:
    """Whether each path of `wanted` leads to its value."""
    document = example.document()
    return all(value_at(document, parse_path(path)) == value for path, value in wanted.items())
