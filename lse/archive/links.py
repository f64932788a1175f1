"""What a run's text only links to: attachments, and payloads too large to be served with it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from lse.archive.jsontext import fields
from lse.models import RawRun

ATTACHMENT = "attachment."

_PAYLOADS = {"inputs_s3_urls": "inputs", "outputs_s3_urls": "outputs"}
_MARKS = (b"s3_urls", b'"attachments"')


class _Linking(msgspec.Struct):
    attachments: Any = None
    s3_urls: Any = None
    inputs_s3_urls: Any = None
    outputs_s3_urls: Any = None


_decode = msgspec.json.Decoder(_Linking).decode


@dataclass(frozen=True, slots=True)
class Link:
    """Where one file of a run can be fetched for a while."""

    run_id: UUID
    name: str
    """`attachment.<name>`, or the field of the run whose value it is."""
    url: str
    """Absolute, or relative to the server's address."""
    mime_type: str | None


def links_of(run: RawRun) -> list[Link]:
    """The links in a run's text, by name, in either of LangSmith's shapes."""
    if not any(mark in run.text for mark in _MARKS):
        return []
    found: dict[str, Link] = {}
    for key, value in _linking(run.text).items():
        for name, target in _targets(key, value).items():
            url, mime_type = _address(target)
            if url:
                found[name] = Link(run.id, name, url, mime_type)
    return [found[name] for name in sorted(found)]


def fill_in(text: bytes, payloads: Mapping[str, bytes]) -> bytes:
    """A run's text with the values of some fields replaced by the payloads' texts."""
    parts = fields(text) | dict(payloads)
    return b"{%s}" % b",".join(json.dumps(key).encode() + b":" + value for key, value in parts.items())


def _linking(text: bytes) -> dict[str, Any]:
    """The members of a run that link to something: by msgspec, or one by one where it refuses other parts."""
    try:
        return msgspec.structs.asdict(_decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        values = fields(text)
        return {key: json.loads(values[key]) for key in _Linking.__struct_fields__ if key in values}


def _targets(key: str, targets: Any) -> dict[str, Any]:
    """The files that one member of a run names: v1's three link fields, v2's attachments."""
    if not isinstance(targets, dict):
        return {}
    if key in _PAYLOADS:
        return {_PAYLOADS[key]: targets["ROOT"]} if "ROOT" in targets else {}
    if key == "attachments":
        return {f"{ATTACHMENT}{name}": target for name, target in targets.items()}
    return targets


def _address(target: Any) -> tuple[str | None, str | None]:
    """v1 gives an object with the address and the kind, v2 the address alone."""
    if isinstance(target, str):
        return target, None
    if not isinstance(target, dict):
        return None, None
    url, kind = target.get("presigned_url"), target.get("mime_type")
    return (url if isinstance(url, str) else None), (kind if isinstance(kind, str) else None)
