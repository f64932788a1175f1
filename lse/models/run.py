"""One run in the shape that the store and the reports read, whichever API served it.

LangSmith serves runs in two shapes: `/runs/query` (v1: `session_id`, `parent_run_id`, lower-case enums, naive
times that mean UTC) and `/api/v2/runs/query` (v2: `project_id`, `parent_run_ids` whose last is the parent,
upper-case enums, times with `Z`). `parse_run` reads both into one `Run`.
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta, Raw, Struct

from lse.models.times import as_utc

_Count = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""A whole number that fits Postgres' bigint."""

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""NUL and lone surrogates: JSON can write them, Postgres' text and UTF-8 cannot hold them."""

_SHORT_NAME = re.compile(r"[A-Za-z0-9]{1,10}")
_LARGEST_COST_EXPONENT = 1_000


class UnreadableRun(ValueError):
    """The text is no run that can be typed. The message says which part is odd and quotes no content."""


class Run(Struct, frozen=True, kw_only=True, gc=False):
    """One run with typed values; times are aware and UTC, costs are exact, tokens are counts.

    Text that Postgres cannot hold (NUL, lone surrogates) stands as U+FFFD, so a report says the same
    whether it reads the archive or the store.
    """

    run_id: UUID
    trace_id: UUID
    parent_run_id: UUID | None
    session_id: UUID | None
    name: str | None
    run_type: str | None
    status: str | None
    """`success`, `error`, `pending` or what else the server says, lower case; None when it says nothing."""
    start_time: datetime
    end_time: datetime | None
    dotted_order: str
    error: str | None
    """The whole error text; an error that is no text, as Postgres prints that JSON value."""
    tags: tuple[str, ...]
    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    prompt_cost: Decimal | None
    completion_cost: Decimal | None
    total_cost: Decimal | None
    thread_id: str | None
    symbol: str | None
    """This run's own crypto symbol, upper-case and trimmed."""
    url: str | None
    """What a scraper run was asked to fetch: the first text of `inputs.input`, `.url`, `.target_url`."""
    model: str | None = None
    """The language model that was asked, as its integration names it in the metadata."""

    @property
    def finished(self) -> bool:
        """Whether the run has ended: it has an end time, or a status other than pending."""
        return self.end_time is not None or self.status not in (None, "pending")


def parse_run(text: bytes) -> Run:
    """The run that the JSON object `text` describes, in either of LangSmith's two shapes.

    Needs `id`, `trace_id` (UUIDs) and `start_time`, else raises `UnreadableRun`. Any other value of an
    unexpected kind counts as missing. The payload is skipped, not built, so this takes microseconds.
    """
    return run_as_served(text, decode_run(text))


def decode_run(text: bytes) -> "ServedRun | None":
    """The members of interest in `text`; None when one of them is of an unexpected kind."""
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def run_as_served(text: bytes, served: "ServedRun | None") -> Run:
    """`parse_run` of a `text` for which `decode_run` gave `served`."""
    run = _run(_read_leniently(text) if served is None else served)
    return _without_unstorable(run) if b"\\" in text and b"\\u0000" in text else run


def metadata_value(text: bytes, key: str) -> str | None:
    """The metadata `key` of the run with this JSON text, as Postgres prints that value; None without one.

    v1 serves metadata in `extra.metadata`, v2 also in `metadata`; the first that has the key counts.
    """
    document = _loads(text)
    extra = document.get("extra") if isinstance(document, dict) else None
    for place in (extra, document):
        metadata = place.get("metadata") if isinstance(place, dict) else None
        value = _cleaned_tree(metadata).get(key) if isinstance(metadata, dict) else None
        if value is not None:
            return value if isinstance(value, str) else _as_postgres_prints(value)
    return None


_ABSENT = Raw()

# `gc=False` below: these values refer to nothing that could refer back, so no garbage collector need look.


class _InputData(Struct, gc=False):
    crypto_symbol: Raw = _ABSENT
    name: Raw = _ABSENT


class _Inputs(Struct, gc=False):
    crypto_symbol: Raw = _ABSENT
    input_data: Raw = _ABSENT
    input: Raw = _ABSENT
    url: Raw = _ABSENT
    target_url: Raw = _ABSENT


class _Metadata(Struct, gc=False):
    symbol: Raw = _ABSENT
    ls_model_name: Raw = _ABSENT


class _Extra(Struct, gc=False):
    metadata: _Metadata | None = None


class ServedRun(Struct, gc=False):
    """The members of interest of a run, in both shapes at once, as the server says them.

    `Raw` marks members that may be of any kind.
    """

    id: UUID
    trace_id: UUID
    start_time: datetime
    end_time: datetime | None = None
    parent_run_id: UUID | None = None
    parent_run_ids: list[UUID] | None = None
    session_id: UUID | None = None
    project_id: UUID | None = None
    name: str | None = None
    run_type: str | None = None
    status: str | None = None
    dotted_order: str | None = None
    error: Raw = _ABSENT
    tags: list[str] | None = None
    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    total_tokens: _Count | None = None
    prompt_cost: Decimal | None = None
    completion_cost: Decimal | None = None
    total_cost: Decimal | None = None
    thread_id: str | None = None
    inputs: _Inputs | None = None
    extra: _Extra | None = None
    metadata: _Metadata | None = None

    @property
    def parent(self) -> UUID | None:
        """v1 names the parent, v2 lists the ancestors, root first."""
        return self.parent_run_id or (self.parent_run_ids[-1] if self.parent_run_ids else None)


_decode = msgspec.json.Decoder(ServedRun).decode
_INPUT_DATA = msgspec.json.Decoder(_InputData)
_TEXT = msgspec.json.Decoder(str)


def _run(served: ServedRun) -> Run:
    started = _utc(served.start_time)
    if started is None:
        raise UnreadableRun("start_time is outside the calendar")
    inputs = served.inputs
    metadata = (served.extra.metadata if served.extra else None, served.metadata)
    return Run(
        run_id=served.id,
        trace_id=served.trace_id,
        parent_run_id=served.parent,
        session_id=served.session_id or served.project_id,
        name=served.name,
        run_type=served.run_type.lower() if served.run_type else None,
        status=served.status.lower() if served.status else None,
        start_time=started,
        end_time=_utc(served.end_time) if served.end_time else None,
        dotted_order=served.dotted_order or "",
        error=_error(served.error),
        tags=tuple(served.tags) if served.tags else (),
        prompt_tokens=served.prompt_tokens,
        completion_tokens=served.completion_tokens,
        total_tokens=served.total_tokens,
        prompt_cost=served.prompt_cost and _cost(served.prompt_cost),
        completion_cost=served.completion_cost and _cost(served.completion_cost),
        total_cost=served.total_cost and _cost(served.total_cost),
        thread_id=served.thread_id,
        symbol=_symbol(inputs, *metadata),
        url=_first_text((inputs.input, inputs.url, inputs.target_url)) if inputs else None,
        model=_first_text([part.ls_model_name for part in metadata if part is not None]),
    )


def _utc(time: datetime) -> datetime | None:
    try:
        return as_utc(time)
    except OverflowError:
        return None


def _cost(cost: Decimal | None) -> Decimal | None:
    """`cost` when it is a number that a numeric column can hold."""
    if cost is None or not cost.is_finite() or abs(cost.adjusted()) > _LARGEST_COST_EXPONENT:
        return None
    return cost


def _begins(raw: Raw, mark: bytes) -> bool:
    return raw is not _ABSENT and memoryview(raw)[:1] == mark


def _text(raw: Raw) -> str | None:
    """The text that the JSON value `raw` is, or None when it is something else."""
    return _TEXT.decode(raw) if _begins(raw, b'"') else None


def _first_text(candidates: Iterable[Raw]) -> str | None:
    for raw in candidates:
        if raw is not _ABSENT and (text := _text(raw)):
            return text
    return None


def _symbol(inputs: _Inputs | None, *metadata: _Metadata | None) -> str | None:
    """The run's own symbol: from its inputs, then their `input_data`, then the metadata."""
    if inputs is not None:
        if symbol := _trimmed(inputs.crypto_symbol):
            return symbol
        if _begins(inputs.input_data, b"{"):
            data = _INPUT_DATA.decode(inputs.input_data)
            if symbol := _trimmed(data.crypto_symbol):
                return symbol
            if _SHORT_NAME.fullmatch(name := (_text(data.name) or "").strip()):
                return name.upper()
    for part in metadata:
        if part is not None and (symbol := _trimmed(part.symbol)):
            return symbol
    return None


def _trimmed(raw: Raw) -> str:
    if raw is _ABSENT:
        return ""
    return (_text(raw) or "").strip().upper()


def _error(raw: Raw) -> str | None:
    if raw is _ABSENT or _begins(raw, b"n"):
        return None
    text = _text(raw)
    return text if text is not None else _as_postgres_prints(_loads(bytes(raw)))


def _as_postgres_prints(value: Any) -> str:
    """`value` as the text of a jsonb value: keys by length then bytes, `, ` and `: ` between the parts."""
    if isinstance(value, dict):
        ordered = sorted(value.items(), key=lambda item: (len(item[0].encode()), item[0].encode()))
        return (
            "{"
            + ", ".join(f"{json.dumps(k, ensure_ascii=False)}: {_as_postgres_prints(v)}" for k, v in ordered)
            + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(_as_postgres_prints, value)) + "]"
    if isinstance(value, Decimal):
        value = value if value else value.copy_abs()  # Postgres has no negative zero
        return f"{value:f}" if abs(value.adjusted()) <= _LARGEST_COST_EXPONENT else str(value)
    return json.dumps(value, ensure_ascii=False)


def _without_unstorable(run: Run) -> Run:
    changes = {name: _clean(getattr(run, name)) for name in run.__struct_fields__}
    return msgspec.structs.replace(run, **changes)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    return tuple(map(_clean, value)) if isinstance(value, tuple) else value


def _loads(text: bytes) -> Any:
    """The value of `text` as Python's tolerant parser reads it: numbers exact, NaN and Infinity as None."""
    try:
        return json.loads(text, parse_int=Decimal, parse_float=Decimal, parse_constant=lambda _: None)
    except RecursionError:
        raise UnreadableRun("nested too deeply") from None
    except (ValueError, ArithmeticError):
        raise UnreadableRun("not a complete JSON text") from None


def _read_leniently(text: bytes) -> ServedRun:
    """The members of interest, each on its own: what does not fit counts as missing."""
    top = _loads(text)
    if not isinstance(top, dict):
        raise UnreadableRun("not a JSON object")
    values = {field: _fitting(field, top.get(field)) for field in ServedRun.__struct_fields__}
    for required in ("id", "trace_id", "start_time"):
        if values[required] is None:
            raise UnreadableRun(f"{required} is missing or odd")
    return ServedRun(**values)


_NESTED: Mapping[str, type[Struct]] = {"inputs": _Inputs, "extra": _Extra, "metadata": _Metadata}
_FIELD_TYPES: Mapping[str, Any] = {field.name: field.type for field in msgspec.structs.fields(ServedRun)}


def _fitting(field: str, value: Any) -> Any:
    if field in _NESTED:
        return _nested(_NESTED[field], value)
    if field == "error":
        return _raw(value)
    if isinstance(value, Decimal) and _FIELD_TYPES[field] == _Count | None:
        value = int(value) if value.adjusted() < 20 and value == value.to_integral_value() else None
    try:
        return msgspec.convert(_clean(value), _FIELD_TYPES[field])
    except msgspec.ValidationError:
        return None


def _nested(kind: type[Struct], value: Any) -> Struct | None:
    if not isinstance(value, dict):
        return None
    if kind is _Extra:
        return _Extra(metadata=_nested(_Metadata, value.get("metadata")))  # type: ignore[arg-type]
    return kind(**{name: _raw(value[name]) for name in kind.__struct_fields__ if name in value})


def _raw(value: Any) -> Raw:
    return Raw(_as_postgres_prints(_cleaned_tree(value)).encode())


def _cleaned_tree(value: Any) -> Any:
    if isinstance(value, dict):
        return {_clean(key): _cleaned_tree(item) for key, item in value.items()}
    return [_cleaned_tree(item) for item in value] if isinstance(value, list) else _clean(value)
