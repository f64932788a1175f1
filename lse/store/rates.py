"""The request rates of one tenant of the source, shared by every process and machine on the same database."""

import hashlib
import logging
import time
from math import inf
from threading import Lock
from typing import Any
from uuid import UUID

from psycopg import Connection

from lse.errors import AccessError, ConfigurationError, TemporaryError
from lse.store.connection import connect, deadline, translated
from lse.store.queries import read_queries

logger = logging.getLogger(__name__)

_SQL = read_queries("rates.sql")
_DEADLINE = 5.0
"""Seconds; a statement takes a millisecond. Who waits longer does without the database."""
_AWAY = 60.0
"""How long a database that did not answer is not asked again, in seconds."""


def tenant_of(endpoint: str, key: str, workspace: str | None) -> UUID:
    """Names whose rates they are, as 128 bits of a hash, so that the key stands nowhere in the database."""
    return UUID(bytes=hashlib.sha256("\n".join((endpoint, key, workspace or "")).encode()).digest()[:16])


class SharedRates:
    """The times of a tenant's last calls, kept in the database by its own clock. Safe between threads.

    A database that does not answer, or lacks the table, is warned of and left alone for a minute; until then
    each method says that nothing is known.
    """

    def __init__(self, url: str, tenant: UUID) -> None:
        self._url = url
        self._tenant = tenant
        self._lock = Lock()
        self._connection: Connection[Any] | None = None
        self._away_until = -inf

    def take(self, calls: int, seconds: float) -> float | None:
        """The seconds until the next call may be sent so that there are never over `calls` within `seconds`.

        The call counts from then on, sent or not. None when the database cannot say.
        """
        return self._ask("take_call", calls=calls, seconds=seconds)

    def rest(self, seconds: float) -> None:
        """Have the source left alone by everybody for so long."""
        self._ask("rest", seconds=seconds)

    def resting(self) -> float:
        """The seconds for which the source is still to be left alone; 0 when it may be asked."""
        return self._ask("resting") or 0.0

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._hang_up()

    def _ask(self, name: str, **parameters: Any) -> float | None:
        with self._lock:
            if time.monotonic() < self._away_until:
                return None
            try:
                with translated():
                    return self._answer(_SQL[name], {"tenant": self._tenant, **parameters})
            except (TemporaryError, AccessError, ConfigurationError) as error:
                logger.warning("The request rates are kept by this process alone for now: %s", error)
                self._away_until = time.monotonic() + _AWAY
                self._hang_up()
                return None

    def _answer(self, statement: bytes, parameters: dict[str, Any]) -> float | None:
        if self._connection is None:
            self._connection = connect(self._url, timeout=_DEADLINE)
        with deadline(self._connection, 2 * _DEADLINE):
            cursor = self._connection.execute(statement, parameters)
            row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
