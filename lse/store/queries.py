"""The statements of the store: text with names, kept in `.sql` files beside this one."""

import re
from collections.abc import Mapping
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def parse_queries(text: str) -> dict[str, bytes]:
    """Each statement of `text` under its name; a statement begins with a line `-- name: <name>`."""
    _, *parts = _NAME.split(text)
    names, bodies = parts[::2], parts[1::2]
    return {name: body.strip().encode() for name, body in zip(names, bodies, strict=True)}


def read_queries(file: str) -> dict[str, bytes]:
    """The statements of `file`, such as `queries.sql`."""
    return parse_queries(Path(__file__).with_name(file).read_text("utf-8"))


QUERIES: Mapping[str, bytes] = read_queries("queries.sql")
