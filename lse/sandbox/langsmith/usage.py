"""Tokens and costs of a run, as LangSmith finds them in what an SDK sends."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

_TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")
_COSTS = ("prompt_cost", "completion_cost", "total_cost")
_DETAILS = (
    "prompt_token_details",
    "completion_token_details",
    "prompt_cost_details",
    "completion_cost_details",
)
USAGE_FIELDS = (*_TOKENS, *_COSTS, *_DETAILS)


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts, costs in US dollars (None: unknown) and their breakdowns by category."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_cost: Decimal | None = None
    completion_cost: Decimal | None = None
    total_cost: Decimal | None = None
    prompt_token_details: Mapping[str, Decimal] = field(default_factory=dict)
    completion_token_details: Mapping[str, Decimal] = field(default_factory=dict)
    prompt_cost_details: Mapping[str, Decimal] = field(default_factory=dict)
    completion_cost_details: Mapping[str, Decimal] = field(default_factory=dict)

    def text(self, name: str) -> bytes:
        """The field `name` as JSON: counts and costs are numbers, unknown costs and empty breakdowns null."""
        value = getattr(self, name)
        if isinstance(value, Mapping):
            pairs = ",".join(f"{json.dumps(key)}:{number(amount)}" for key, amount in value.items())
            return f"{{{pairs}}}".encode() if pairs else b"null"
        return b"null" if value is None else number(value).encode()


NOTHING = Usage()


def number(value: Decimal | int) -> str:
    """A JSON number without an exponent or needless zeros: `0.001572`, `3`, `0.0`."""
    if isinstance(value, int):
        return str(value)
    text = f"{value.normalize():f}"
    return "0.0" if text in ("0", "-0") else text


def total(parts: Iterable[Usage]) -> Usage:
    """The sum of several usages; a cost is unknown only when every part's is."""
    items = [part for part in parts if part is not NOTHING]
    if len(items) < 2:
        return items[0] if items else NOTHING
    sums: dict[str, Any] = {name: sum(getattr(item, name) for item in items) for name in _TOKENS}
    sums |= {name: _cost_sum([getattr(item, name) for item in items]) for name in _COSTS}
    sums |= {name: _detail_sum([getattr(item, name) for item in items]) for name in _DETAILS}
    return Usage(**sums)


def of_fields(parsed: Mapping[str, Any]) -> Usage | None:
    """The usage that a run states itself in the fields of the API, or None when it states no total."""
    if not isinstance(parsed.get("total_tokens"), int) and _decimal(parsed.get("total_cost")) is None:
        return None
    stated: dict[str, Any] = {name: _count(parsed.get(name)) for name in _TOKENS}
    stated |= {name: _decimal(parsed.get(name)) for name in _COSTS}
    stated |= {name: _amounts(parsed.get(name)) for name in _DETAILS}
    return Usage(**stated)


def of_payload(outputs: object, metadata: Mapping[str, Any]) -> Usage | None:
    """The usage of one model call: `usage_metadata` in its outputs or metadata, or OpenAI's `usage`.

    The places are those that LangSmith's documentation on logging token counts and costs names.
    """
    found = next((place for place in _places(outputs, metadata) if isinstance(place, dict)), None)
    if found is None:
        return None
    prompt = _count(found.get("input_tokens", found.get("prompt_tokens")))
    completion = _count(found.get("output_tokens", found.get("completion_tokens")))
    prompt_cost, completion_cost = _decimal(found.get("input_cost")), _decimal(found.get("output_cost"))
    stated_cost = _decimal(found.get("total_cost"))
    return Usage(
        prompt,
        completion,
        _count(found.get("total_tokens")) or prompt + completion,
        prompt_cost,
        completion_cost,
        _cost_sum([prompt_cost, completion_cost]) if stated_cost is None else stated_cost,
        _amounts(found.get("input_token_details")),
        _amounts(found.get("output_token_details")),
        _amounts(found.get("input_cost_details")),
        _amounts(found.get("output_cost_details")),
    )


def _places(outputs: object, metadata: Mapping[str, Any]) -> Iterable[object]:
    yield metadata.get("usage_metadata")
    if isinstance(outputs, dict):
        yield outputs.get("usage_metadata")
        yield _dig(outputs, "generations", 0, 0, "message", "kwargs", "usage_metadata")
        yield _dig(outputs, "llm_output", "token_usage")
        yield outputs.get("usage")


def _dig(value: Any, *path: str | int) -> object:
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value))
    except ArithmeticError:
        return None
    return amount if amount.is_finite() else None


def _amounts(value: object) -> dict[str, Decimal]:
    if not isinstance(value, dict):
        return {}
    pairs = ((str(key), _decimal(amount)) for key, amount in value.items())
    return {key: amount for key, amount in pairs if amount is not None}


def _cost_sum(costs: list[Decimal | None]) -> Decimal | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known, Decimal(0)) if known else None


def _detail_sum(details: list[Mapping[str, Decimal]]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for detail in details:
        for key, amount in detail.items():
            sums[key] = sums.get(key, Decimal(0)) + amount
    return sums


def subtree_totals(
    own: Mapping[str, Usage | None], parent_of: Callable[[str], str | None]
) -> dict[str, Usage]:
    """Usage per run id with that of its descendants.

    A run that states its own usage keeps it; any other gets the sum of its children. Runs in a parent
    cycle get nothing.
    """
    children: dict[str, list[str]] = {}
    tops = []
    for run_id in own:
        parent = parent_of(run_id)
        if parent in own and parent is not None:
            children.setdefault(parent, []).append(run_id)
        else:
            tops.append(run_id)
    order = list(tops)
    for run_id in order:
        order.extend(children.get(run_id, ()))
    sums: dict[str, Usage] = dict.fromkeys(own, NOTHING)
    for run_id in reversed(order):
        sums[run_id] = own[run_id] or total(sums[child] for child in children.get(run_id, ()))
    return sums
