"""Notes that prove themselves: JSON objects with a hash over their other members."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SEAL = "check"
"""The member with the first 16 hexadecimal digits of the SHA-256 over the other members, as JSON"""


def seal(members: Mapping[str, Any]) -> dict[str, Any]:
    """`members` with their hash."""
    return {**members, SEAL: _hash(members)}


def unseal(document: Mapping[str, Any]) -> dict[str, Any]:
    """The members without their hash. Raises `ValueError` when it is of others; there may be none."""
    members = dict(document)
    if members.pop(SEAL, None) not in (None, _hash(members)):
        raise ValueError("the members are not those that were written")
    return members


def _hash(members: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(members).encode()).hexdigest()[:16]
