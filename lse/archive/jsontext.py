"""Cut JSON text into its parts without changing a byte.

A parser changes what it reads (`1e400`, `-0`, duplicate keys, integers of 5,000 digits) or refuses it
(lone surrogates, a nesting of 10,000). The archive keeps what the server said, so these functions only
find where a value ends. They look at structure alone: brackets must match and strings must close;
scalars between commas are taken as they stand. Text that msgspec accepts is cut by msgspec, which is 50
times faster and gives the same bytes.
"""

import json
import re

import msgspec

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:"]', re.DOTALL)
_CLOSING = {b"[": b"]", b"{": b"}"}
_read_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NOT_STRICT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class MalformedJson(ValueError):
    """The text is not one complete JSON value of the kind asked for. The message quotes no content."""


def elements(text: bytes) -> list[bytes]:
    """The values of the JSON array `text`, each exactly as written, without the white space around it.

    Raises `MalformedJson` when `text` is no complete array, `null` and `{}` included.
    """
    try:
        return list(map(bytes, _read_array(text)))
    except _NOT_STRICT:
        return [part for part, _ in _cut(text, b"[")]


def fields(text: bytes) -> dict[str, bytes]:
    """The members of the JSON object `text` by key; of duplicate keys the last.

    Raises `MalformedJson` when `text` is no complete object.
    """
    try:
        return {key: bytes(value) for key, value in _read_object(text).items()}
    except _NOT_STRICT:
        return dict(members(text))


def members(text: bytes) -> list[tuple[str, bytes]]:
    """The members of the JSON object `text` in order, as (key, value text); duplicate keys are kept.

    Raises `MalformedJson` when `text` is no complete object.
    """
    return [_member(part, colon) for part, colon in _cut(text, b"{")]


def one_line(text: bytes) -> bytes:
    """`text` with each line break between tokens, and the white space around it, as one space.

    JSON strings hold no raw line break, so only insignificant white space is touched; none stays at the ends.
    """
    if b"\n" not in text and b"\r" not in text:
        return text
    return b" ".join(filter(None, map(bytes.strip, text.splitlines())))


def _cut(text: bytes, opening: bytes) -> list[tuple[bytes, int]]:
    """The comma-separated parts of one array or object, each with the offset of its first colon or -1."""
    text = text.strip()
    if not text.startswith(opening):
        raise MalformedJson(f"expected {opening.decode()} at the start")
    parts: list[tuple[bytes, int]] = []
    open_brackets: list[bytes] = []
    begin, colon = 1, -1
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token in _CLOSING:
            open_brackets.append(_CLOSING[token])
        elif token in (b"]", b"}"):
            if not open_brackets or open_brackets.pop() != token:
                raise MalformedJson(f"unmatched {token.decode()} at byte {match.start()}")
            if not open_brackets:
                return _finish(text, parts, begin, colon, match.start())
        elif token == b'"':
            raise MalformedJson(f"unclosed string at byte {match.start()}")
        elif len(open_brackets) == 1:
            if token == b",":
                parts.append(_part(text, begin, colon, match.start()))
                begin, colon = match.end(), -1
            elif token == b":" and colon < 0:
                colon = match.start()
    raise MalformedJson("the text ends before its brackets close")


def _finish(
    text: bytes, parts: list[tuple[bytes, int]], begin: int, colon: int, end: int
) -> list[tuple[bytes, int]]:
    if end + 1 != len(text):
        raise MalformedJson(f"text after the end of the value at byte {end + 1}")
    if parts or text[begin:end].strip():
        parts.append(_part(text, begin, colon, end))
    return parts


def _part(text: bytes, begin: int, colon: int, end: int) -> tuple[bytes, int]:
    raw = text[begin:end]
    part = raw.strip()
    if not part:
        raise MalformedJson(f"a value is missing at byte {begin}")
    return part, colon - begin - (len(raw) - len(raw.lstrip())) if colon >= 0 else -1


def _member(part: bytes, colon: int) -> tuple[str, bytes]:
    key, value = part[:colon].rstrip(), part[colon + 1 :].lstrip()
    if colon < 0 or not value or not key.startswith(b'"'):
        raise MalformedJson("an object member needs a key and a value")
    try:
        plain = b"\\" not in key and key.count(b'"') == 2
        return key[1:-1].decode() if plain else str(json.loads(key)), value
    except ValueError:
        raise MalformedJson("a key is no JSON string") from None
