"""The tables of the store. SQLModel declares them; Alembic migrates them; psycopg moves the rows.

`runs` is partitioned by month of `run_date`, the UTC day on which the trace's root run started. What reports
read stands in typed columns, measured 24 to 170 times faster than reading `data`; `data` is the whole run as
a JSON value. The exact text of a run is in the archive; the store is an index that can be rebuilt from it.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlmodel import Field, SQLModel

FAILED = "status IS DISTINCT FROM 'success'"
"""A run failed when it did not succeed: missing and pending count as failed."""


class Xid8(sa.types.UserDefinedType[str]):
    """The id of a transaction, 64 bits wide, so that it never wraps around."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The type's name in Postgres."""
        return "xid8"


ischema_names["xid8"] = Xid8  # lets Alembic read it back from a database


def _check(table: str, key: str, column: str) -> sa.CheckConstraint:
    """The identity in `data` equals `column`; `IS TRUE` refuses a missing key, which a bare `=` lets pass."""
    return sa.CheckConstraint(
        f"((data ->> '{key}') = {column}::text) IS TRUE", name=f"{table}_{key}_is_its_own"
    )


def _text(**options: Any) -> Any:
    return Field(sa_type=sa.Text, **options)


def _time(**options: Any) -> Any:
    return Field(sa_type=sa.DateTime(timezone=True), **options)


def _now() -> Any:
    return _time(sa_column_kwargs={"server_default": sa.func.now()})


def _bigint(**options: Any) -> Any:
    return Field(sa_type=sa.BigInteger, **options)


def _changed_xid() -> sa.Column[str]:
    return sa.Column("changed_xid", Xid8, nullable=False, server_default=sa.func.pg_current_xact_id())


class RunRow(SQLModel, table=True):
    """One run of a trace; `run_date` is the trace's day, so a trace is never cut."""

    __tablename__ = "runs"
    __table_args__ = (
        _check("runs", "id", "run_id"),
        _check("runs", "trace_id", "trace_id"),
        sa.Index("runs_project_day", "project", "run_date"),
        sa.Index(
            "runs_failed",
            "run_date",
            "project",
            "name",
            postgresql_include=["trace_id", "run_id", "start_time", "run_type", "status", "error"],
            postgresql_where=sa.text(FAILED),
        ),
        sa.Index("runs_trace", "trace_id"),
        sa.Index("runs_start_time", "start_time", postgresql_using="brin"),
        sa.Index("runs_changed", "changed_xid", "run_id"),
        {"postgresql_partition_by": "RANGE (run_date)"},
    )

    run_date: date = Field(primary_key=True)
    trace_id: UUID = Field(primary_key=True)
    run_id: UUID = Field(primary_key=True)
    parent_run_id: UUID | None
    session_id: UUID | None
    content_hash: UUID
    """128 bits of the SHA-256 of the run's exact text, which the archive holds."""
    start_time: datetime = _time()
    end_time: datetime | None = _time(nullable=True)
    loaded_at: datetime = _now()
    prompt_tokens: int | None = _bigint(nullable=True)
    completion_tokens: int | None = _bigint(nullable=True)
    total_tokens: int | None = _bigint(nullable=True)
    sanitized: bool
    """Whether NUL characters of the text stand as U+FFFD in `data`, since jsonb cannot hold them."""
    project: str = _text()
    name: str | None = _text(nullable=True)
    run_type: str | None = _text(nullable=True)
    status: str | None = _text(nullable=True)
    symbol: str | None = _text(nullable=True)
    thread_id: str | None = _text(nullable=True)
    prompt_cost: Decimal | None = Field(sa_type=sa.Numeric)
    completion_cost: Decimal | None = Field(sa_type=sa.Numeric)
    total_cost: Decimal | None = Field(sa_type=sa.Numeric)
    tags: list[str] = Field(sa_type=pg.ARRAY(sa.Text))
    error: str | None = _text(nullable=True)
    """The first 300 characters; the whole text is in `data`."""
    latency: float | None = Field(
        sa_column=sa.Column(
            pg.DOUBLE_PRECISION, sa.Computed("extract(epoch FROM end_time - start_time)", persisted=True)
        )
    )
    """Seconds from start to end."""
    data: dict[str, Any] = Field(sa_type=pg.JSONB)
    model: str | None = _text(nullable=True)
    changed_xid: Any = Field(sa_column=_changed_xid())
    """The transaction that wrote this row last. Who follows changes reads in the order of (`changed_xid`,
    `run_id`), and only rows below `pg_snapshot_xmin(pg_current_snapshot())`: later ones may still be joined
    by a transaction that began earlier. The ids are those of one server: after a restore from a dump, start
    again from nothing."""


class RunVersionRow(SQLModel, table=True):
    """An earlier version of a run: what a load replaced, or moved to the trace's right day or project.

    The version that stands in `runs` is never among them.
    """

    __tablename__ = "run_versions"

    run_date: date = Field(primary_key=True)
    trace_id: UUID = Field(primary_key=True)
    run_id: UUID = Field(primary_key=True)
    content_hash: UUID = Field(primary_key=True)
    """128 bits of the SHA-256 of the version's exact text; the archive keeps it in `superseded.jsonl`."""
    project: str = _text()
    status: str | None = _text(nullable=True)
    loaded_at: datetime = _time()
    superseded_at: datetime = _now()
    sanitized: bool
    data: dict[str, Any] = Field(sa_type=pg.JSONB)


class DailyRollupRow(SQLModel, table=True):
    """Counts and sums of the runs of one project day, by name, type, status and model; exact.

    Made again by every load that changes the day, in its transaction. A text that a run does not have is
    empty here. A parent's tokens and costs include those of its children, as LangSmith counts them: for
    costs add up `run_type = 'llm'` alone.
    """

    __tablename__ = "daily_rollups"

    project: str = _text(primary_key=True)
    run_date: date = Field(primary_key=True)
    name: str = _text(primary_key=True)
    run_type: str = _text(primary_key=True)
    status: str = _text(primary_key=True)
    model: str = _text(primary_key=True)
    runs: int = _bigint()
    roots: int = _bigint()
    """Root runs, that is traces: unlike `traces` they add up over names, types, statuses and models."""
    traces: int = _bigint()
    """Distinct traces with such a run; one trace may count in several rows, so do not add them up."""
    prompt_tokens: Decimal = Field(sa_type=sa.Numeric)
    completion_tokens: Decimal = Field(sa_type=sa.Numeric)
    total_tokens: Decimal = Field(sa_type=sa.Numeric)
    prompt_cost: Decimal = Field(sa_type=sa.Numeric)
    completion_cost: Decimal = Field(sa_type=sa.Numeric)
    total_cost: Decimal = Field(sa_type=sa.Numeric)
    ended: int = _bigint()
    """Runs with an end time: what `latency` is the sum of."""
    latency: Decimal = Field(sa_type=sa.Numeric)
    """Sum of the seconds from start to end; the mean is `latency / ended`."""
    latencies: bytes = Field(sa_column_kwargs={"server_default": ""})
    """The microseconds from start to end of each run that ended, ascending, as big-endian 64-bit numbers:
    what percentiles over any days are found in without reading the runs."""


class DailyTracesRow(SQLModel, table=True):
    """How many traces a project day has, and of how many a run failed; exact, made like `daily_rollups`.

    A trace has runs of several names, so the traces of several names do not add up.
    """

    __tablename__ = "daily_traces"

    project: str = _text(primary_key=True)
    run_date: date = Field(primary_key=True)
    by_name: bool = Field(primary_key=True)
    """Whether the row is about the runs of `name` alone; the other row of the day is about all its runs."""
    name: str = _text(primary_key=True)
    """Empty in the row about all runs, and for runs without a name."""
    traces: int = _bigint()
    """Distinct traces with such a run."""
    failed_traces: int = _bigint()
    """Distinct traces with such a run that did not succeed."""


class DailyFeedbackRow(SQLModel, table=True):
    """Counts and sums of the feedback on the traces of one project day, by key; exact, as `daily_rollups`."""

    __tablename__ = "daily_feedback"

    project: str = _text(primary_key=True)
    run_date: date = Field(primary_key=True)
    key: str = _text(primary_key=True)
    """Empty for feedback without a key."""
    feedback: int = _bigint()
    """Records, with and without a score."""
    scored: int = _bigint()
    """Records with a score."""
    score: Decimal = Field(sa_type=sa.Numeric)
    """Sum of the scores; the mean is `score / scored`."""


class ProjectDayRow(SQLModel, table=True):
    """The ledger: what is proved done for one project day. A time says when, null says not yet."""

    __tablename__ = "project_days"

    project: str = _text(primary_key=True)
    run_date: date = Field(primary_key=True)
    fetched_at: datetime | None = _time(nullable=True)
    complete: bool | None
    server_runs: int | None = _bigint(nullable=True)
    server_traces: int | None = _bigint(nullable=True)
    runs: int | None = _bigint(nullable=True)
    traces: int | None = _bigint(nullable=True)
    feedback: int | None = _bigint(nullable=True)
    api: str | None = _text(nullable=True)
    walks: int | None
    packed_at: datetime | None = _time(nullable=True)
    content_sha256: str | None = _text(nullable=True)
    zip_sha256: str | None = _text(nullable=True)
    zip_md5: str | None = _text(nullable=True)
    zip_size: int | None = _bigint(nullable=True)
    uploaded_at: datetime | None = _time(nullable=True)
    target: str | None = _text(nullable=True)
    target_id: str | None = _text(nullable=True)
    target_link: str | None = _text(nullable=True)
    loaded_at: datetime | None = _time(nullable=True)
    loaded_runs: int | None = _bigint(nullable=True)
    loaded_content: str | None = _text(nullable=True)
    """`content_sha256` of the archive that the last load read."""
    loaded_digest: int | None = _bigint(nullable=True)
    """Of the ids and hashes of the rows that it left; other rows have another digest."""
    quarantined: int | None = _bigint(nullable=True)
    verified_at: datetime | None = _time(nullable=True)
    differences: int | None = _bigint(nullable=True)
    failed_step: str | None = _text(nullable=True)
    failure: str | None = _text(nullable=True)
    """One short message about the last failed step; holds no trace text."""
    fetch_record: str | None = _text(nullable=True)
    """What the last fetch counted and proved, as `_fetch.json` beside the trace files says it."""


class QuarantineRow(SQLModel, table=True):
    """A run or feedback record that could not be loaded: its exact bytes and the reason."""

    __tablename__ = "quarantine"
    __table_args__ = (
        sa.UniqueConstraint("project", "run_date", "content_hash", name="quarantine_once_per_day"),
    )

    id: UUID = Field(primary_key=True, sa_column_kwargs={"server_default": sa.func.gen_random_uuid()})
    project: str = _text()
    run_date: date
    run_id: UUID | None
    trace_id: UUID | None
    content_hash: UUID
    raw: bytes
    reason: str = _text()
    quarantined_at: datetime = _now()


class FeedbackRow(SQLModel, table=True):
    """One feedback record on a run; `run_date` is the day of the run's trace."""

    __tablename__ = "feedback"
    __table_args__ = (
        _check("feedback", "id", "feedback_id"),
        _check("feedback", "run_id", "run_id"),
        sa.Index("feedback_project_day", "run_date", "project", "key", postgresql_include=["score"]),
    )

    run_date: date = Field(primary_key=True)
    run_id: UUID = Field(primary_key=True)
    feedback_id: UUID = Field(primary_key=True)
    project: str = _text()
    key: str | None = _text(nullable=True)
    score: Decimal | None = Field(sa_type=sa.Numeric)
    value: Any = Field(sa_type=pg.JSONB, nullable=True)
    comment: str | None = _text(nullable=True)
    created_at: datetime | None = _time(nullable=True)
    modified_at: datetime | None = _time(nullable=True)
    content_hash: UUID
    sanitized: bool
    data: dict[str, Any] = Field(sa_type=pg.JSONB)


class EvaluationRequestRow(SQLModel, table=True):
    """One request to an evaluation service, and what it answered; null while there is no answer."""

    __tablename__ = "evaluation_requests"

    request_id: UUID = Field(primary_key=True)
    """Also the idempotency key that the service was given."""
    dataset: str = _text()
    """The name of the dataset in LangSmith."""
    experiment_prefix: str = _text()
    """How the names of the experiments were to begin."""
    eval_type: str = _text()
    """The type of evaluation that was asked for."""
    endpoint: str = _text()
    """The service's address, without user, password and query."""
    legacy: bool
    """Whether the request was made in the unsigned form of query parameters."""
    requested_at: datetime = _time()
    """When the request was made."""
    answered_at: datetime | None = _time(nullable=True)
    """When the answer was complete."""
    status: int | None
    """The HTTP status of the answer."""
    attempts: int | None
    """How many times it was sent."""
    answer: str | None = _text(nullable=True)
    """The text of the answer."""
    failure: str | None = _text(nullable=True)
    """Why there is no answer."""


class EventRow(SQLModel, table=True):
    """Something that happened, written in the transaction of the ledger's entry that it is about."""

    __tablename__ = "events"
    __table_args__ = (
        sa.CheckConstraint("octet_length(data::text) <= 4096", name="events_are_small"),
        sa.Index("events_follow", "xid", "id"),
        sa.Index("events_kind", "kind", "at"),
    )

    id: int = Field(sa_column=sa.Column(sa.BigInteger, sa.Identity(always=True), primary_key=True))
    """Ascends, but in the order in which transactions asked for it."""
    xid: Any = Field(sa_column=sa.Column(Xid8, nullable=False, server_default=sa.func.pg_current_xact_id()))
    """The transaction. Who follows reads in the order of (`xid`, `id`), below
    `pg_snapshot_xmin(pg_current_snapshot())`, and misses none."""
    at: datetime = _time(sa_column_kwargs={"server_default": sa.func.clock_timestamp()})
    """When it was written."""
    kind: str = _text()
    """What happened, such as `day.fetched`; `lse events --help` names them all."""
    severity: str = _text()
    """`info`, `warning` or `error`."""
    project: str | None = _text(nullable=True)
    """The project; null for what is about no project day."""
    run_date: date | None
    """The UTC day, likewise."""
    step: str | None = _text(nullable=True)
    """The step of a sweep, where it is about one."""
    origin: UUID | None
    """The Prefect flow run that wrote it, else an id that the command drew."""
    fingerprint: str | None = _text(nullable=True)
    """Of a failure's message: the same for failures that say the same."""
    data: dict[str, Any] = Field(sa_type=pg.JSONB)
    """Figures and the message; never trace text."""


class RateBudgetRow(SQLModel, table=True):
    """When a tenant's last calls to LangSmith were sent, by any process; see `lse.store.rates`."""

    __tablename__ = "rate_budgets"

    tenant: UUID = Field(primary_key=True)
    """A hash of endpoint, workspace and key."""
    calls: int = Field(primary_key=True)
    """At most so many calls"""
    seconds: float = Field(primary_key=True, sa_type=pg.DOUBLE_PRECISION)
    """within so many seconds."""
    taken: int = _bigint()
    """How many calls were sent so far."""
    times: list[datetime] = Field(sa_type=pg.ARRAY(sa.DateTime(timezone=True)))
    """When each of the last `calls` calls was, or will be, sent; the next one replaces the oldest."""
    rest_until: datetime | None = _time(nullable=True)
    """Until when LangSmith is left alone, since it did not answer somebody."""
