"""The search language of Drive v2 (`q`), its `orderBy` and its partial answers (`fields`)."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

Resource = dict[str, Any]
Test = Callable[[Resource], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*')|(?P<word>[\w.]+)|(?P<mark><=|>=|!=|[=<>(){}]))", re.DOTALL
)
_FIELD = re.compile(r"(?P<name>[\w*]+)(?:/(?P<path>.+)|\((?P<group>.+)\))?", re.DOTALL)
_DATES = ("createdDate", "modifiedDate", "lastViewedByMeDate")


class QueryError(ValueError):
    """The query, the order or the field list cannot be read."""


def parse_query(text: str) -> Test:
    """The test that the search text `text` describes; `QueryError` when Drive would refuse it."""
    return _Parser(text).parse() if text.strip() else lambda _: True


def sort_resources(resources: Sequence[Resource], order: str) -> list[Resource]:
    """`resources` in the order of `orderBy`, such as `folder,modifiedDate desc,title`."""
    ordered = list(resources)
    for key in reversed([part.split() for part in order.split(",") if part.strip()]):
        name = key[0]
        if name not in ("folder", "title", "title_natural", "createdDate", "modifiedDate", "quotaBytesUsed"):
            raise QueryError(f"Sorting by {name} is not known.")
        ordered.sort(key=partial(_sort_value, name=name), reverse=key[1:] == ["desc"])
    return ordered


def _sort_value(resource: Resource, name: str) -> Any:
    match name:
        case "folder":
            return resource["mimeType"] != "application/vnd.google-apps.folder"
        case "title" | "title_natural":
            return resource["title"].lower()
        case "quotaBytesUsed":
            return int(resource.get(name, 0))
        case _:
            return resource[name]


def select_fields(value: Any, mask: str) -> Any:
    """The parts of `value` that the mask names, such as `items(id,parents/id),nextPageToken`."""
    return _select(value, _parse_mask(mask)) if mask and mask != "*" else value


Mask = dict[str, Any]


def _parse_mask(text: str) -> Mask:
    mask: Mask = {}
    depth, part = 0, ""
    for character in text + ",":
        depth += (character == "(") - (character == ")")
        if character != "," or depth:
            part += character
            continue
        found = _FIELD.fullmatch(part.strip())
        if found is None:
            raise QueryError(f"Invalid field selection {text}")
        inner = found["path"] or found["group"]
        mask.setdefault(found["name"], {}).update(_parse_mask(inner) if inner else {})
        part = ""
    if depth:
        raise QueryError(f"Invalid field selection {text}")
    return mask


def _select(value: Any, mask: Mask) -> Any:
    if isinstance(value, list):
        return [_select(element, mask) for element in value]
    if not mask or "*" in mask or not isinstance(value, dict):
        return value
    return {name: _select(value[name], inner) for name, inner in mask.items() if name in value}


class _Parser:
    """Recursive descent: `or` binds weaker than `and`, and `not` strongest."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        position = 0
        while text[position:].strip():
            found = _TOKEN.match(text, position)
            if found is None:
                raise QueryError(f"unexpected text at {position}")
            kind = str(found.lastgroup)
            self._tokens.append((kind, found.group(kind)))
            position = found.end()
        self._next = 0

    def parse(self) -> Test:
        test = self._either()
        if self._next != len(self._tokens):
            raise QueryError("text after the end of the query")
        return test

    def _either(self) -> Test:
        tests = [self._all()]
        while self._accept("or"):
            tests.append(self._all())
        return lambda r: any(test(r) for test in tests)

    def _all(self) -> Test:
        tests = [self._one()]
        while self._accept("and"):
            tests.append(self._one())
        return lambda r: all(test(r) for test in tests)

    def _one(self) -> Test:
        if self._accept("not"):
            test = self._one()
            return lambda r: not test(r)
        if self._accept("("):
            test = self._either()
            self._expect(")")
            return test
        kind, text = self._take()
        if kind == "string":
            self._expect("in")
            return _membership(self._take()[1], _unquote(text))
        if self._accept("has"):
            return self._has(text)
        return _comparison(text, self._take()[1], _unquote(self._take()[1]))

    def _has(self, name: str) -> Test:
        """`properties has { key='k' and value='v' and visibility='PRIVATE' }`."""
        if name != "properties":
            raise QueryError(f"has does not work on {name}")
        self._expect("{")
        wanted: dict[str, str] = {}
        while not self._accept("}"):
            key = self._take()[1]
            self._expect("=")
            wanted[key] = _unquote(self._take()[1])
            self._accept("and")
        return lambda r: any(wanted.items() <= p.items() for p in r.get("properties", ()))

    def _take(self) -> tuple[str, str]:
        if self._next == len(self._tokens):
            raise QueryError("the query ends too early")
        self._next += 1
        return self._tokens[self._next - 1]

    def _accept(self, text: str) -> bool:
        found = self._next < len(self._tokens) and self._tokens[self._next] in (
            ("word", text),
            ("mark", text),
        )
        self._next += found
        return found

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise QueryError(f"{text} expected")


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith("'") else text


def _membership(name: str, value: str) -> Test:
    if name != "parents":
        raise QueryError(f"in does not work on {name}")
    return lambda r: any(value == p["id"] or (value == "root" and p["isRoot"]) for p in r["parents"])


def _comparison(name: str, operator: str, value: str) -> Test:
    """One `name operator value`. Titles compare without regard to case, as on the real service."""
    if name == "title":
        wanted = value.lower()
        return _text_test(operator, lambda r: str(r["title"]).lower(), wanted, by_word=True)
    if name == "mimeType":
        return _text_test(operator, lambda r: str(r["mimeType"]), value, by_word=False)
    if name in ("trashed", "starred") and operator in ("=", "!=") and value in ("true", "false"):
        return lambda r: (r["labels"][name] == (value == "true")) == (operator == "=")
    if name in _DATES and operator in _ORDER:
        return lambda r: _ORDER[operator](str(r.get(name, ""))[:19], value[:19])
    raise QueryError(f"{name} {operator} is not known")


_ORDER: dict[str, Callable[[str, str], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _text_test(operator: str, read: Callable[[Resource], str], value: str, *, by_word: bool) -> Test:
    """`contains` matches the beginnings of words in titles and any prefix of a MIME type."""
    match operator:
        case "=":
            return lambda r: read(r) == value
        case "!=":
            return lambda r: read(r) != value
        case "contains" if by_word:
            return lambda r: re.search(r"(?<!\w)" + re.escape(value), read(r)) is not None
        case "contains":
            return lambda r: read(r).startswith(value)
    raise QueryError(f"{operator} does not work on text")
