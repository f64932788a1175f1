"""Which error messages say the same: a message without the values that differ from one time to the next."""

import functools
import hashlib
import re

MESSAGE_LENGTH = 300
"""How much of an error counts: what the store keeps of it in a column of its own."""

_TEMPLATE_LENGTH = 160

_EXCEPTION = re.compile(r"([A-Za-z_][\w.]*)\((['\"])")
"""How Python shows an exception, which is how LangSmith's SDK records one: `ValueError('…')`."""

_QUOTED = re.compile(r"""(?<!\w)'[^']*'(?!\w)|(?<!\w)"[^"]*"(?!\w)|`[^`]*`""")
_VALUE = re.compile(
    r"""
      (?P<url>     [A-Za-z][A-Za-z0-9+.-]*://[^'"<>)]+ )
    | (?P<email>   [\w.+-]+@[\w-]+\.[\w.-]+ )
    | (?P<id>      (?<!\w)(?:0x[0-9a-fA-F]+ | (?=[A-Za-z_-]*[0-9])[0-9A-Za-z_-]{12,})(?!\w) )
    | (?P<address> (?<!\w)[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?::[0-9]+)? )
    | (?P<path>    (?<![\w/.])/[\w.-]+(?:/[\w.-]+)+ )
    | (?P<number>  [0-9]+(?:[.,:T-][0-9]+)*Z? )
    """,
    re.VERBOSE,
)
_TELLING = re.compile(r"[0-9@/]")
"""Every value has one of these, which is faster to see."""
_STATUS = re.compile(r"[45][0-9]{2}\W*")
_BEFORE_STATUS = ("", "code", "status", "http")


@functools.lru_cache(16_384)  # the same message comes many times
def error_template(error: str | None) -> str:
    """`error` on one line with `<number>`, `<id>`, `<url>`, `<text>`, … in place of its values.

    Only the first 300 characters count, and of those what stands before a traceback. A three-digit HTTP
    status stays, since it tells one error from another. Empty when there is no message.
    """
    text = " ".join((error or "")[:MESSAGE_LENGTH].split())
    text, _, cut = text.partition("Traceback (most recent call last)")
    if not cut and error is not None and len(error) >= MESSAGE_LENGTH:
        text = text.rpartition(" ")[0] or text  # its last word may be half of a value
    if shown := _EXCEPTION.match(text):
        text = f"{shown[1]}: {text[shown.end() :].rstrip().removesuffix(')').removesuffix(shown[2])}"
    words = _QUOTED.sub("<text>", text).split()
    return " ".join(map(_without_values, words, ["", *words]))[:_TEMPLATE_LENGTH]


@functools.lru_cache(16_384)
def fingerprint(error: str | None) -> str:
    """Ten hexadecimal digits that messages with the same template share."""
    return _digest(error_template(error))


@functools.lru_cache(1_024)
def _digest(template: str) -> str:
    return hashlib.sha256(template.encode("utf-8", "surrogatepass")).hexdigest()[:10]


def _without_values(word: str, before: str) -> str:
    """`word` with names in place of its values; `before` is the word before it."""
    if not _TELLING.search(word) or _is_status(word, before):
        return word
    return _VALUE.sub(lambda value: f"<{value.lastgroup}>", word)


def _is_status(word: str, before: str) -> bool:
    """Whether `word` is an HTTP status, which tells one error from another."""
    said = before.endswith(":") or before.lower() in _BEFORE_STATUS
    return said and _STATUS.fullmatch(word) is not None
