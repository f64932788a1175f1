"""Equal values, equal bytes: JSON with sorted keys, exact numbers and no white space."""

import hashlib
from decimal import Decimal
from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder(order="deterministic", decimal_format="number")
_DECODER = msgspec.json.Decoder(float_hook=Decimal)


def canonical(value: Any) -> bytes:
    """`value` as JSON text, the same for equal values."""
    return _ENCODER.encode(value)


def exact(text: str | bytes | msgspec.Raw) -> Any:
    """The value of JSON text; a number that is not whole keeps its digits."""
    return _DECODER.decode(text)


def sha256(text: bytes) -> str:
    """Of `text`, in hexadecimal."""
    return hashlib.sha256(text).hexdigest()


def fraction(*parts: str) -> float:
    """A number from 0 up to 1 that only `parts` decide, evenly spread."""
    digest = hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
