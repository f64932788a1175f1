"""The requests that were made to evaluation services, and what they answered."""

from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from lse.store.connection import STATEMENT_TIMEOUT, connect, deadline, translated

_LARGEST_ANSWER = 1_000_000

_RECORD = """
insert into evaluation_requests (request_id, dataset, experiment_prefix, eval_type, endpoint, legacy,
                                 requested_at, answered_at, status, attempts, answer, failure)
values (%(request_id)s, %(dataset)s, %(experiment_prefix)s, %(eval_type)s, %(endpoint)s, %(legacy)s,
        %(requested_at)s, %(answered_at)s, %(status)s, %(attempts)s, %(answer)s, %(failure)s)
on conflict (request_id) do update
set answered_at = excluded.answered_at, status = excluded.status, attempts = excluded.attempts,
    answer = excluded.answer, failure = excluded.failure
"""
_LATEST = """
select request_id, dataset, experiment_prefix, eval_type, endpoint, legacy, requested_at, answered_at, status,
       attempts, answer, failure
from evaluation_requests order by requested_at desc, request_id limit %(limit)s
"""


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """One request to an evaluation service. Times are UTC; without an answer, those fields are None."""

    request_id: UUID
    dataset: str
    experiment_prefix: str
    eval_type: str
    endpoint: str
    """Without user, password and query."""
    legacy: bool
    requested_at: datetime
    answered_at: datetime | None = None
    status: int | None = None
    attempts: int | None = None
    answer: str | None = None
    """The text of the answer, its first million characters."""
    failure: str | None = None
    """Why there is no answer."""


def record(url: str, request: EvaluationRequest) -> None:
    """Write down `request`, or what became of it. Errors as those of the store."""
    answer = request.answer and request.answer.replace("\0", "\ufffd")[:_LARGEST_ANSWER]
    with translated(), connect(url) as connection, deadline(connection, STATEMENT_TIMEOUT):
        connection.execute(_RECORD, {**asdict(request), "answer": answer})


def latest(url: str, limit: int = 20) -> list[EvaluationRequest]:
    """The last requests, the latest first."""
    with translated(), connect(url) as connection, deadline(connection, STATEMENT_TIMEOUT):
        cursor = connection.cursor(row_factory=class_row(EvaluationRequest))
        return cursor.execute(_LATEST, {"limit": limit}).fetchall()
