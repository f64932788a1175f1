"""Personal data and secrets leave texts: each find is replaced by its kind, such as `[email]`.

Only what can be told by its form is found; names of people are not. Checksums (Luhn for cards, ISO 7064 for
IBANs) keep other numbers from being taken for them.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from lse.errors import UsageError

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

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


_ALWAYS: Callable[[str], bool] = bool
_KINDS: dict[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "secret": (_SECRET, _ALWAYS),
    "email": (_EMAIL, _ALWAYS),
    "card": (_CARD, lambda text: _luhn(re.sub(r"\D", "", text))),
    "iban": (_IBAN, _iban),
    "phone": (_PHONE, _ALWAYS),
    "ip": (_IP, _address),
}
"""Each kind with its form and with what makes a find certain, in the order in which they are replaced."""

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
    chosen = [(f"[{kind}]", *_KINDS[kind]) for kind in KINDS if kind in kinds]

    def text(value: str) -> str:
        if _UUID.fullmatch(value):
            return value
        for mark, pattern, certain in chosen:
            value = pattern.sub(lambda found: mark if certain(found[0]) else found[0], value)  # noqa: B023
        return value

    def tree(value: Any) -> Any:
        if isinstance(value, str):
            return text(value)
        if isinstance(value, dict):
            return _with_keys({key: tree(value[key]) for key in sorted(value)}, text)
        if isinstance(value, list):
            return [tree(item) for item in value]
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            shown = f"{value:f}" if isinstance(value, Decimal) else str(value)
            return value if (redacted := text(shown)) == shown else redacted
        return value

    return tree if chosen else lambda value: value


def _with_keys(value: dict[str, Any], text: Callable[[str], str]) -> dict[str, Any]:
    """`value` with redacted keys; keys that became equal are numbered, so that no value is lost."""
    found: dict[str, Any] = {}
    for key, item in value.items():
        name = first = text(key)
        number = 2
        while name in found:
            name, number = f"{first} {number}", number + 1
        found[name] = item
    return found
