"""Personal data and secrets leave texts: each find is replaced by its kind, such as `[email]`.

Only what can be told by its form is found; names of people are not. Checksums (Luhn for cards, ISO 7064 for
IBANs) keep other numbers from being taken for them.
"""

import functools
import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from lse.errors import UsageError

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_UUID_LENGTH = 36

# Well-known prefixes of keys, JSON web tokens, and what follows a word that announces a secret.
_SECRET = re.compile(
    r"\b(?:sk|pk|rk)[-_](?:[A-Za-z0-9_]+[-_])?[A-Za-z0-9]{16,}|\blsv2_[a-z]{2}_\w{20,}|\bgh[pousr]_\w{20,}"
    r"|\bxox[abprs]-[\w-]{10,}|\bAKIA[0-9A-Z]{16}\b|\bAIza[\w-]{30,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|(?i:(?<=bearer )[\w.~+/=-]{12,}|(?:(?<=password=)|(?<=api_key=)|(?<=token=))[^\s&\"']+)"
)
_EMAIL = re.compile(r"[\w.+'-]+(?:@|%40|＠)[\w-]+(?:\.[\w-]+)+")
_CARD = re.compile(r"(?<![\w.])\d(?:[ -]?\d){12,18}(?![\w])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
# International with + or 00 in front; with an area code in brackets or three groups; with a leading 0.
_PHONE = re.compile(
    r"(?<![\w+.-])(?:(?:\+|00)[1-9](?:[ ()./-]{0,3}\d){6,14}"
    r"|\(\d{2,5}\) ?\d{3,4}[ .-]?\d{3,5}|\d{3}[ .-]\d{3}[ .-]\d{4}|0\d{2,4}[ /-]\d{5,9})(?![\w])"
)
_IP = re.compile(
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)|(?<![\w:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])"
)


def _luhn(digits: str) -> bool:
    """Whether the last digit is right (ISO/IEC 7812) and the first is one that cards have."""
    doubled = [int(digit) * (2 if at % 2 else 1) for at, digit in enumerate(reversed(digits))]
    return digits[0] in "23456" and sum(n - 9 if n > 9 else n for n in doubled) % 10 == 0


def _iban(text: str) -> bool:
    """Whether the check digits are right (ISO 13616: mod 97 is 1)."""
    compact = text.replace(" ", "")
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 == 1


def _address(text: str) -> bool:
    """Whether it is an address, and none that is also a name in a program, such as `a::b`."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return len(text) > 6 and any(map(str.isdigit, text))


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of personal data is found."""

    form: re.Pattern[str]
    certain: Callable[[str], bool] = bool
    """Whether what has the form is it."""
    possible: Callable[[str], bool] = bool
    """Whether a text can hold it at all; takes a fraction of the time of the pattern."""


_SECRET_MARKS = {
    "-": ("k-", "xox"),
    "_": ("k_", "lsv2_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    "=": ("=",),
    "A": ("AKIA", "AIza"),
    "J": ("eyJ",),
}
"""What secrets have in them, below a character of it that most texts do without."""
_SHORTEST = 6
"""Characters; `a@b.io` is the shortest of all."""
_SHORTEST_NUMBER = 7
_NO_DIGITS = str.maketrans("", "", "0123456789")


def _has_secret_mark(text: str) -> bool:
    for character, marks in _SECRET_MARKS.items():
        if character in text and any(mark in text for mark in marks):
            return True
    return "bearer " in text.lower()


@functools.lru_cache(maxsize=2)  # three kinds ask the same of a text
def _has_digits(text: str) -> bool:
    return len(text) - len(text.translate(_NO_DIGITS)) >= _SHORTEST_NUMBER


_KINDS = {
    "secret": _Kind(_SECRET, possible=_has_secret_mark),
    "email": _Kind(_EMAIL, possible=lambda text: "@" in text or "%40" in text or "＠" in text),
    "card": _Kind(_CARD, lambda text: _luhn(re.sub(r"\D", "", text)), _has_digits),
    "iban": _Kind(_IBAN, _iban, _has_digits),
    "phone": _Kind(_PHONE, possible=_has_digits),
    "ip": _Kind(_IP, _address, lambda text: text.count(".") > 2 or text.count(":") > 1),
}
"""In the order in which they are replaced."""

KINDS = tuple(_KINDS)


def redactor(kinds: Sequence[str]) -> Callable[[Any], Any]:
    """A function that gives a JSON value without data of these kinds, in texts, numbers and keys.

    Raises `UsageError` for a kind that there is not.
    """
    if unknown := set(kinds) - set(KINDS):
        raise UsageError(
            f"There is nothing to redact called {', '.join(sorted(unknown))}.",
            hint=f"Kinds: {', '.join(KINDS)}.",
        )
    chosen = [(f"[{name}]", kind) for name, kind in _KINDS.items() if name in kinds]

    def text(value: str) -> str:
        if len(value) < _SHORTEST or (len(value) == _UUID_LENGTH and _UUID.fullmatch(value)):
            return value
        for mark, kind in chosen:
            if kind.possible(value):
                value = _replaced(value, kind, mark)
        return value

    short = functools.lru_cache(maxsize=10_000)(text)  # keys, names and verdicts come with every example

    def tree(value: Any) -> Any:
        if isinstance(value, str):
            return short(value) if len(value) < _UUID_LENGTH else text(value)
        if isinstance(value, dict):
            redacted = {short(name): tree(item) for name, item in value.items()}
            return redacted if len(redacted) == len(value) else _numbered(value, short, tree)
        if isinstance(value, list):
            return [tree(item) for item in value]
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            shown = f"{value:f}" if isinstance(value, Decimal) else str(value)
            return value if (replaced := text(shown)) == shown else replaced
        return value

    return tree if chosen else lambda value: value


def _replaced(text: str, kind: _Kind, mark: str) -> str:
    return kind.form.sub(lambda found: mark if kind.certain(found[0]) else found[0], text)


def _numbered(
    value: dict[str, Any], text: Callable[[str], str], tree: Callable[[Any], Any]
) -> dict[str, Any]:
    """`value` redacted, with numbers behind keys that became equal, so that no value is lost."""
    found: dict[str, Any] = {}
    for key in sorted(value):
        name = first = text(key)
        number = 2
        while name in found:
            name, number = f"{first} {number}", number + 1
        found[name] = tree(value[key])
    return found
