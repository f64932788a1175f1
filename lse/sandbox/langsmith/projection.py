"""What the two read APIs show of a run: members as they were sent, and what the server adds to them."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

from lse.archive import jsontext
from lse.sandbox.langsmith import times
from lse.sandbox.langsmith.feedback import Feedback, stats
from lse.sandbox.langsmith.projects import TENANT
from lse.sandbox.langsmith.runs import Run, Trace
from lse.sandbox.langsmith.usage import NOTHING, USAGE_FIELDS, Usage

NULL = b"null"
PREVIEW_CHARACTERS = 150
BASE_TTL_SECONDS = 14 * 86_400
EXTENDED_TTL_SECONDS = 400 * 86_400
"""The two retentions of LangSmith's documentation: 14 days, and 400 after feedback."""

ALWAYS = ("id", "name", "run_type", "status", "trace_id", "dotted_order", "session_id", "app_path")
"""The members that the OpenAPI document requires in every run."""
_SIGNED = ("inputs", "outputs", "error", "events", "extra", "serialized")


class Knowledge(Protocol):
    """What the server knows about a run beyond the run itself."""

    def trace_of(self, run: Run) -> Trace: ...

    def feedback(self, run_id: str) -> Collection[Feedback]: ...

    def upgraded(self, trace: Trace) -> bool: ...

    def presigned(self, key: str) -> str: ...

    def offloaded(self, run: Run, key: str) -> bool: ...


Derive = Callable[[Run, Knowledge], bytes]
_Step = tuple[str, bytes, Derive]
"""A member to write: its name, the same with quotes and colon, and how to make it when nobody sent it."""


# `json.dumps` with separators builds an encoder per call, which was half the time of a page (measured).
_encode = json.JSONEncoder(separators=(",", ":")).encode


def text(value: object) -> bytes:
    """`value` as compact JSON."""
    return _encode(value).encode()


def _constant(value: object) -> Derive:
    shown = text(value)
    return lambda _run, _knowledge: shown


def _of(get: Callable[[Run], object]) -> Derive:
    return lambda run, _: text(get(run))


def _usage(name: str) -> Derive:
    return lambda run, knowledge: knowledge.trace_of(run).total(run).text(name)


def dotted_order(run: Run, trace: Trace) -> str:
    """The stated `dotted_order`, else one made from the ancestors that are there."""
    if "dotted_order" in run.members:
        return run.dotted_order
    parts, seen, at = [times.stamp(run.start) + run.id], {run.id}, run
    while at.parent_id and at.parent_id not in seen and (parent := trace.runs.get(at.parent_id)):
        if parent.dotted_order:
            return ".".join([parent.dotted_order, *reversed(parts)])
        parts.append(times.stamp(parent.start) + parent.id)
        seen.add(parent.id)
        at = parent
    return ".".join(reversed(parts))


def _app_path(run: Run, _: Knowledge) -> bytes:
    place = f"/o/{TENANT}/projects/p/{run.session_id}/r/{run.id}"
    return text(f"{place}?trace_id={run.trace_id}&start_time={times.naive(run.start)}")


def _preview(key: str) -> Derive:
    def derive(run: Run, _: Knowledge) -> bytes:
        shown = run.members.get(key, NULL)
        if shown == NULL:
            return NULL
        return text(shown[: 4 * PREVIEW_CHARACTERS].decode("utf-8", "ignore")[:PREVIEW_CHARACTERS])

    return derive


def _payload_urls(key: str) -> Derive:
    def derive(run: Run, knowledge: Knowledge) -> bytes:
        if not knowledge.offloaded(run, key):
            return NULL
        return text({"ROOT": {"presigned_url": knowledge.presigned(f"runs/{run.id}/{key}"), "s3_url": None}})

    return derive


def _s3_urls(run: Run, knowledge: Knowledge) -> bytes:
    urls = {
        f"attachment.{name}": {"presigned_url": knowledge.presigned(item.blob), "mime_type": item.mime_type}
        for name, item in run.attachments.items()
    }
    for key in _SIGNED[2:]:
        if knowledge.offloaded(run, key):
            urls[key] = {"presigned_url": knowledge.presigned(f"runs/{run.id}/{key}")}
    return text(urls or None)


def _signed(key: str) -> Derive:
    """The payload, or its address when it is stored outside."""

    def derive(run: Run, knowledge: Knowledge) -> bytes:
        if knowledge.offloaded(run, key):
            return text(knowledge.presigned(f"runs/{run.id}/{key}"))
        return run.members.get(key, NULL)

    return derive


def _children(run: Run, knowledge: Knowledge) -> bytes:
    trace = knowledge.trace_of(run)
    found = [each for each in trace.runs.values() if run.id in each.parent_ids]
    return text([each.id for each in sorted(found, key=lambda each: each.key)])


def _direct_children(run: Run, knowledge: Knowledge) -> bytes:
    return text([each.id for each in knowledge.trace_of(run).children(run.id)])


def _first_token(run: Run, _: Knowledge) -> bytes:
    return NULL if run.first_token is None else text(times.naive(run.first_token))


def _messages(run: Run, _: Knowledge) -> bytes:
    inputs = run.value("inputs")
    return text(inputs.get("messages") if isinstance(inputs, dict) else None)


SCHEMA: dict[str, Derive] = {
    "name": _of(lambda run: run.name),
    "inputs": _constant(None),
    "inputs_preview": _preview("inputs"),
    "run_type": _of(lambda run: run.run_type),
    "start_time": _of(lambda run: times.naive(run.start)),
    "end_time": _of(lambda run: times.naive(run.end) if run.end else None),
    "extra": _constant(None),
    "error": _constant(None),
    "execution_order": _constant(1),
    "serialized": _constant(None),
    "outputs": _constant(None),
    "outputs_preview": _preview("outputs"),
    "parent_run_id": _of(lambda run: run.parent_id),
    "manifest_id": _constant(None),
    "manifest_s3_id": _constant(None),
    "manifest": _constant(None),
    "events": _constant(None),
    "tags": _constant(None),
    "inputs_s3_urls": _payload_urls("inputs"),
    "outputs_s3_urls": _payload_urls("outputs"),
    "s3_urls": _s3_urls,
    "trace_id": _of(lambda run: run.trace_id),
    "dotted_order": lambda run, knowledge: text(dotted_order(run, knowledge.trace_of(run))),
    "id": _of(lambda run: run.id),
    "status": _of(lambda run: run.status),
    "child_run_ids": _children,
    "direct_child_run_ids": _direct_children,
    "parent_run_ids": _of(lambda run: run.parent_ids),
    "feedback_stats": lambda run, knowledge: text(stats(list(knowledge.feedback(run.id)))),
    "reference_example_id": _constant(None),
    "reference_dataset_id": _constant(None),
    **{name: _usage(name) for name in USAGE_FIELDS},
    "price_model_id": _constant(None),
    "first_token_time": _first_token,
    "session_id": _of(lambda run: run.session_id),
    "app_path": _app_path,
    "last_queued_at": _constant(None),
    "in_dataset": _constant(False),
    "share_token": _constant(None),
    "trace_tier": lambda run, k: text("longlived" if k.upgraded(k.trace_of(run)) else "shortlived"),
    "trace_first_received_at": lambda run, k: text(times.naive(k.trace_of(run).received)),
    "ttl_seconds": lambda run, k: text(
        EXTENDED_TTL_SECONDS if k.upgraded(k.trace_of(run)) else BASE_TTL_SECONDS
    ),
    "trace_upgrade": lambda run, k: text(k.upgraded(k.trace_of(run))),
    "thread_id": _of(lambda run: run.thread_id),
    "trace_min_start_time": lambda run, k: text(times.naive(k.trace_of(run).received)),
    "trace_max_start_time": lambda run, k: text(times.naive(k.trace_of(run).last_start)),
    "messages": _messages,
    "inserted_at": lambda run, k: text(times.naive(k.trace_of(run).received)),
    "trace_min_max_start_time": lambda run, k: text(
        [times.naive(k.trace_of(run).received), times.naive(k.trace_of(run).last_start)]
    ),
    **{f"{key}_or_signed_url": _signed(key) for key in _SIGNED},
}
"""Every member of a run in the order of LangSmith's schema, with what it is when nobody sent it."""

_ONLY_IN_RUN = frozenset(
    {"execution_order", "direct_child_run_ids", "trace_min_start_time", "trace_max_start_time"}
)
SELECTABLE = frozenset(SCHEMA) - _ONLY_IN_RUN
"""The 60 values of `select` in the OpenAPI document."""
DEFAULT_SELECT = SELECTABLE - {
    "inputs_preview",
    "outputs_preview",
    "inputs_s3_urls",
    "outputs_s3_urls",
    "s3_urls",
    "child_run_ids",
    "trace_min_max_start_time",
    "messages",
    "inserted_at",
    *(f"{key}_or_signed_url" for key in _SIGNED),
}
"""The 45 that the server selects when the request does not."""
_NOT_IN_RUN = frozenset(
    {"messages", "inserted_at", "trace_min_max_start_time", *(f"{key}_or_signed_url" for key in _SIGNED)}
)
_COSTLY = frozenset({"child_run_ids", "direct_child_run_ids"})


def page_run(run: Run, select: frozenset[str] | None, knowledge: Knowledge) -> bytes:
    """One run of `POST /runs/query`: the selected members, or the default ones with any the schema lacks."""
    return _join(run, _page_plan(tuple(run.members), run.verbatim, select), knowledge)


def whole_run(run: Run, knowledge: Knowledge) -> bytes:
    """The answer of `GET /runs/{id}`: every member; the costly lists of children are null, as measured."""
    keys = [key for key in _order(tuple(run.members), run.verbatim) if key not in _NOT_IN_RUN]
    plan = [(key, _key(key), _NOTHING if key in _COSTLY else SCHEMA.get(key, _NOTHING)) for key in keys]
    return _join(run, plan, knowledge)


@lru_cache(maxsize=1024)
def _page_plan(members: tuple[str, ...], verbatim: bool, select: frozenset[str] | None) -> Sequence[_Step]:
    """What to write for runs that have these members."""
    keys = _order(members, verbatim)
    if select is None:
        keys = [key for key in keys if key in DEFAULT_SELECT or key not in SCHEMA]
    else:
        keys = [key for key in keys if key in select or key in ALWAYS]
    return [(key, _key(key), SCHEMA.get(key, _NOTHING)) for key in keys]


def _order(members: tuple[str, ...], verbatim: bool) -> list[str]:
    if verbatim:
        return [*members, *(key for key in SCHEMA if key not in members)]
    return [*SCHEMA, *(key for key in members if key not in SCHEMA)]


def _join(run: Run, plan: Iterable[_Step], knowledge: Knowledge) -> bytes:
    pairs = []
    for key, prefix, derive in plan:
        sent = run.members.get(key)
        if sent is None:
            pairs.append(prefix + derive(run, knowledge))
        else:
            pairs.append(prefix + (NULL if knowledge.offloaded(run, key) else sent))
    return b"{" + b",".join(pairs) + b"}"


def _key(name: str) -> bytes:
    return _KEYS.get(name) or text(name) + b":"


_KEYS = {key: text(key) + b":" for key in SCHEMA}
_NOTHING = _constant(None)


# --- the v2 API


def _member(key: str) -> Derive:
    return lambda run, knowledge: run.members.get(key) or SCHEMA[key](run, knowledge)


def _upper(key: str) -> Derive:
    def derive(run: Run, _: Knowledge) -> bytes:
        return text(getattr(run, key).upper())

    return derive


def _zulu(key: str) -> Derive:
    """A time of the run with `Z`; one that cannot be read stays as it was sent."""

    def derive(run: Run, _: Knowledge) -> bytes:
        at = times.moment(run.value(key))
        return text(times.zulu(at)) if at is not None else run.members.get(key, NULL)

    return derive


def _first_token_zulu(run: Run, _: Knowledge) -> bytes:
    return NULL if run.first_token is None else text(times.zulu(run.first_token))


def _subtree_first_token(run: Run, knowledge: Knowledge) -> bytes:
    at = knowledge.trace_of(run).first_token(run)
    return NULL if at is None else text(times.zulu(at))


def _metadata(run: Run, _: Knowledge) -> bytes:
    """The text of `extra.metadata`, cut out unchanged."""
    extra = run.members.get("extra", NULL)
    return dict(jsontext.members(extra)).get("metadata", NULL) if extra.startswith(b"{") else NULL


def _attachments(run: Run, knowledge: Knowledge) -> bytes:
    return text({name: knowledge.presigned(item.blob) for name, item in run.attachments.items()} or None)


def _own_usage(name: str) -> Derive:
    def derive(run: Run, _: Knowledge) -> bytes:
        return usage_text(run.usage or NOTHING, name, run.members)

    return derive


def _subtree_usage(name: str) -> Derive:
    def derive(run: Run, knowledge: Knowledge) -> bytes:
        return usage_text(knowledge.trace_of(run).total(run), name, run.members)

    return derive


def usage_text(usage: Usage, name: str, members: Mapping[str, bytes]) -> bytes:
    """A usage field as v2 shows it: breakdowns stand under `raw`."""
    shown = members.get(name) or usage.text(name)
    return b'{"raw":' + shown + b"}" if name.endswith("_details") and shown != NULL else shown


def _share_url(run: Run, _: Knowledge) -> bytes:
    token = run.value("share_token")
    return text(f"https://smith.langchain.com/public/{token}/r" if token else None)


V2_SCHEMA: dict[str, tuple[str, Derive]] = {
    "ID": ("id", _of(lambda run: run.id)),
    "NAME": ("name", _member("name")),
    "RUN_TYPE": ("run_type", _upper("run_type")),
    "STATUS": ("status", _upper("status")),
    "START_TIME": ("start_time", _of(lambda run: times.zulu(run.start))),
    "END_TIME": ("end_time", _zulu("end_time")),
    "LATENCY_SECONDS": ("latency_seconds", _of(lambda run: run.latency)),
    "FIRST_TOKEN_TIME": ("first_token_time", _first_token_zulu),
    "ERROR": ("error", _member("error")),
    "ERROR_PREVIEW": (
        "error_preview",
        _of(lambda run: run.error[:PREVIEW_CHARACTERS] if isinstance(run.error, str) else None),
    ),
    "EXTRA": ("extra", _member("extra")),
    "METADATA": ("metadata", _metadata),
    "EVENTS": ("events", _member("events")),
    "INPUTS": ("inputs", _member("inputs")),
    "INPUTS_PREVIEW": ("inputs_preview", _member("inputs_preview")),
    "OUTPUTS": ("outputs", _member("outputs")),
    "OUTPUTS_PREVIEW": ("outputs_preview", _member("outputs_preview")),
    "MANIFEST": ("manifest", lambda run, _: run.members.get("manifest", run.members.get("serialized", NULL))),
    "PARENT_RUN_IDS": ("parent_run_ids", _member("parent_run_ids")),
    "PROJECT_ID": ("project_id", _of(lambda run: run.session_id)),
    "TRACE_ID": ("trace_id", _member("trace_id")),
    "THREAD_ID": ("thread_id", _member("thread_id")),
    "DOTTED_ORDER": ("dotted_order", _member("dotted_order")),
    "IS_ROOT": ("is_root", _of(lambda run: run.is_root)),
    "REFERENCE_EXAMPLE_ID": ("reference_example_id", _member("reference_example_id")),
    "REFERENCE_DATASET_ID": ("reference_dataset_id", _member("reference_dataset_id")),
    **{name.upper(): (name, _own_usage(name)) for name in USAGE_FIELDS},
    "PRICE_MODEL_ID": ("price_model_id", _member("price_model_id")),
    "TAGS": ("tags", _member("tags")),
    "APP_PATH": ("app_path", _member("app_path")),
    "ATTACHMENTS": ("attachments", _attachments),
    "THREAD_EVALUATION_TIME": ("thread_evaluation_time", _constant(None)),
    "IS_IN_DATASET": ("is_in_dataset", _member("in_dataset")),
    "LAST_QUEUED_AT": ("last_queued_at", _zulu("last_queued_at")),
    "SHARE_URL": ("share_url", _share_url),
    "FEEDBACK_STATS": (
        "feedback_stats",
        lambda run, knowledge: text(stats(list(knowledge.feedback(run.id)), detailed=True)),
    ),
    "LS_USER_ID": ("ls_user_id", _constant(None)),
}
"""The 46 values of `selects`, each with its member and how it is made."""
_WITH_SUBTREE = (
    V2_SCHEMA
    | {name.upper(): (name, _subtree_usage(name)) for name in USAGE_FIELDS}
    | {"FIRST_TOKEN_TIME": ("first_token_time", _subtree_first_token)}
)


def v2_run(run: Run, selects: Iterable[str], knowledge: Knowledge, *, subtree_usage: bool = False) -> bytes:
    """One run of the v2 API with the selected members; payloads are the exact texts that were sent."""
    schema = _WITH_SUBTREE if subtree_usage else V2_SCHEMA
    pairs = (_key(schema[name][0]) + schema[name][1](run, knowledge) for name in selects)
    return b"{" + b",".join(pairs) + b"}"
