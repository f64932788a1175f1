"""From the exact text of a run or feedback record to the values of its row."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from lse.models import ProjectDay, RawFeedback, RawRun, Run, UnreadableRun, content_hash
from lse.store.binary import encode_row

ERROR_LENGTH = 300

_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_ESCAPE = re.compile(
    # Escapes one after the other, so that `\\u0000`, an escaped backslash and five characters, is left alone.
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair: one character
    rb"|(?P<refused>u0000|u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_HUGE_NUMBER = re.compile(rb"[0-9][eE][+-]?0*[1-9][0-9]{3,}\s*[,\]}]")
_ALIKE = bytes.maketrans(b"123456789+-E", b"00000000000e")
_HUGE_MARK = b"0e0000"


def run_row(day: ProjectDay, raw: RawRun, digest: bytes) -> tuple[bytes, bytes]:
    """The row of `raw`, whose content digest is `digest`, as `copy runs from stdin (format binary)` takes it.

    In two parts to be sent one after the other; see `encode_row`.

    Raises `UnreadableRun` when it is no run that the store takes.
    """
    run, data, sanitized = storable_run(raw)
    return encode_row(
        day.day,
        run.trace_id,
        run.run_id,
        run.parent_run_id,
        run.session_id,
        digest,
        run.start_time,
        run.end_time,
        run.prompt_tokens,
        run.completion_tokens,
        run.total_tokens,
        sanitized,
        day.project,
        run.name,
        run.run_type,
        run.status,
        run.symbol,
        run.thread_id,
        run.prompt_cost,
        run.completion_cost,
        run.total_cost,
        run.tags,
        run.error[:ERROR_LENGTH] if run.error else run.error,
        run.model,
        data,
    )


def storable_run(raw: RawRun) -> tuple[Run, bytes, bool]:
    """`raw` typed, its JSON text as the store takes it, and whether that is sanitized.

    Raises `UnreadableRun` when it cannot be typed or must not become a jsonb value: what a load quarantines.
    """
    text = raw.resolved or raw.text
    run = raw.typed()
    if run.run_id != raw.id or run.trace_id != raw.trace_id:
        raise UnreadableRun("the ids in the text are not those it is filed under")
    refuse_huge_numbers(text)
    return run, *sanitize(text)


def feedback_values(day: ProjectDay, raw: RawFeedback) -> dict[str, Any]:
    """The values of `upsert_feedback`. Raises `UnreadableRun` when `raw` is no record that can be typed."""
    refuse_huge_numbers(raw.text)
    try:
        wire = _FEEDBACK.decode(raw.text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UnreadableRun("not a feedback record that can be typed") from None
    data, sanitized = sanitize(raw.text)
    return {
        "run_date": day.day,
        "run_id": raw.run_id,
        "feedback_id": raw.id,
        "project": day.project,
        "key": _storable(wire.key),
        "score": _number(wire.score),
        "value": None if bytes(wire.value) in (b"", b"null") else jsonb(sanitize(bytes(wire.value))[0]),
        "comment": _storable(wire.comment),
        "created_at": _utc(wire.created_at),
        "modified_at": _utc(wire.modified_at),
        "content_hash": content_hash(raw.text),
        "sanitized": sanitized,
        "data": jsonb(data),
    }


def sanitize(text: bytes) -> tuple[bytes, bool]:
    r"""`text` with each escaped NUL or lone surrogate as `\ufffd`, and whether there was one.

    jsonb refuses both, and the refusal would take the whole batch along. The archive keeps the exact text.
    """
    if b"\\" not in text or not _SUSPECT.search(text):
        return text, False
    replaced = _ESCAPE.sub(_storable_escape, text)
    return replaced, replaced != text


def _storable_escape(match: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if match["refused"] else match[0]


def jsonb(text: bytes) -> Jsonb:
    """`text` as a jsonb parameter, sent as it is."""
    return Jsonb(text, dumps=bytes)


def refuse_huge_numbers(text: bytes) -> None:
    """Refuse numbers with an exponent of four digits or more.

    Postgres takes `1e131071` and writes it out as 131,072 digits: 1.8 kB of JSON became 26 MB (measured).
    The first look, for a digit, an `e` and four more digits or signs, costs a microsecond per kilobyte and
    finds hexadecimal text as well; the last one is exact.
    """
    alike = text.translate(_ALIKE)
    at = alike.find(_HUGE_MARK)
    while at >= 0:
        if _HUGE_NUMBER.match(text, at):
            if _HUGE_NUMBER.search(_STRING.sub(b'""', text)):
                raise UnreadableRun("a number with an exponent of four digits or more")
            return
        at = alike.find(_HUGE_MARK, at + 1)


class _Feedback(msgspec.Struct):
    key: str | None = None
    score: Decimal | bool | None = None
    value: msgspec.Raw = msgspec.Raw()
    comment: str | None = None
    created_at: datetime | None = None
    modified_at: datetime | None = None


_FEEDBACK = msgspec.json.Decoder(_Feedback)


def _number(score: Decimal | bool | None) -> Decimal | None:
    if score is None or not Decimal(score).is_finite():
        return None
    return Decimal(score)


def _storable(text: str | None) -> str | None:
    return text.replace("\0", "\ufffd") if text else text


def _utc(time: datetime | None) -> datetime | None:
    if time is None or time.tzinfo is not None:
        return time
    return time.replace(tzinfo=UTC)
