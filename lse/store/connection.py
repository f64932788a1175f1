"""Connections to Postgres: opened with deadlines, and foreign errors translated once, here.

Postgres quotes data in its messages: DETAIL shows the failing row, CONTEXT the JSON text, and some primary
messages the value itself. So an error of ours says what was refused by its SQLSTATE alone, and drops the
original (`from None`), which a traceback would print.
"""

import contextlib
import math
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, TypeVar

import psycopg
from psycopg import conninfo

from lse.errors import AccessError, BusyError, ConfigurationError, LseError, TemporaryError

CONNECT_TIMEOUT = 10
STATEMENT_TIMEOUT = 300.0
"""Seconds one statement may take; a batch of a load or a month's report needs a fraction of that."""

_KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
# With its own keepalives the server notices within a minute that a machine is gone, and frees what it held.
_SESSION = b"""
select set_config('TimeZone', 'UTC', false), set_config('DateStyle', 'ISO', false),
       set_config('jit', 'off', false),
       set_config('statement_timeout', %(statement)s, false), set_config('lock_timeout', '30s', false),
       set_config('idle_in_transaction_session_timeout', '15min', false),
       set_config('idle_session_timeout', '0', false),
       set_config('tcp_keepalives_idle', '30', false), set_config('tcp_keepalives_interval', '10', false),
       set_config('tcp_keepalives_count', '3', false)
"""
_UPGRADE = "Run `lse db upgrade`."

T = TypeVar("T")


def connect(
    url: str, *, autocommit: bool = True, timeout: float = STATEMENT_TIMEOUT
) -> psycopg.Connection[Any]:
    """An open connection in UTC whose statements end after `timeout` seconds.

    Raises `ConfigurationError` for a wrong address, password or database, `TemporaryError` when the server
    does not answer.
    """
    settings: dict[str, Any] = {"application_name": "lse", "connect_timeout": CONNECT_TIMEOUT, **_KEEPALIVES}
    try:
        parameters = {**settings, **conninfo.conninfo_to_dict(url)}
    except psycopg.ProgrammingError:
        raise ConfigurationError(
            "The database address cannot be read.",
            hint="Set LSE_DATABASE_URL to postgresql://user:password@host/name.",
        ) from None
    try:
        connection = psycopg.connect(**parameters, autocommit=True)
    except psycopg.OperationalError as error:
        raise _refused(str(error), _place(parameters)) from None
    with translated(), deadline(connection, CONNECT_TIMEOUT):
        connection.execute(_SESSION, {"statement": f"{int(timeout * 1000)}ms"})
        connection.autocommit = autocommit
    return connection


@contextlib.contextmanager
def deadline(connection: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
    """Cut `connection` when the body takes longer than `seconds`.

    The server's own timeouts and TCP's do not end a wait when something between keeps acknowledging
    (measured with a stalled proxy), so the client has to hang up. A cut shows as a lost connection.
    """
    descriptor = os.dup(connection.fileno())
    timer = threading.Timer(seconds, _hang_up, [descriptor])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        os.close(descriptor)


def each_within(connection: psycopg.Connection[Any], items: Iterator[T], seconds: float) -> Iterator[T]:
    """Each of `items`; cut `connection`, as `deadline` does, when one is awaited for longer than `seconds`.

    The time that the caller takes between two of them does not count. One thread watches over all: a timer
    for each block of rows took as long as reading the rows (measured).
    """
    descriptor = os.dup(connection.fileno())
    awaited_since = math.inf
    over = threading.Event()

    def watch() -> None:
        while not over.wait(seconds / 10):
            if time.monotonic() - awaited_since > seconds:
                return _hang_up(descriptor)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        awaited_since = time.monotonic()
        for item in items:
            awaited_since = math.inf
            yield item
            awaited_since = time.monotonic()
    finally:
        over.set()
        watcher.join()
        os.close(descriptor)


def hang_up(connection: psycopg.Connection[Any]) -> None:
    """End whatever is awaited from `connection`, in whichever thread: it is of no use afterwards."""
    if not connection.closed:
        _hang_up(connection.fileno())


def _hang_up(descriptor: int) -> None:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as line:
        line.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn errors of psycopg into ours, by SQLSTATE; the original, which may quote data, is dropped."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from None


def translate(error: psycopg.Error) -> LseError:
    """Our error for `error`, sorted by what the caller should do. Quotes no data."""
    code = error.sqlstate
    if code is None:
        if isinstance(error, psycopg.OperationalError):
            return TemporaryError("The connection to the database was lost.", hint="Run the command again.")
        return LseError(f"The database client refused a value ({type(error).__name__}).")
    name = f"{code} {type(error).__name__}"
    if code in ("42P01", "42703", "3F000"):
        return ConfigurationError(f"The database lacks a table or column of lse ({name}).", hint=_UPGRADE)
    if code == "42501":
        return AccessError(f"The database role lacks a permission ({name}).")
    if code == "55P03":
        return BusyError(f"Somebody else holds a lock in the database ({name}).", hint="Try again.")
    if code == "53100":
        return TemporaryError(
            f"The database's disk is full ({name}).", hint="Make room for it, then run the command again."
        )
    if code[:2] in ("08", "40", "53", "57"):
        return TemporaryError(f"The database could not do it now ({name}).", hint="Try again.")
    if code[:2] in ("28", "3D") or code == "25006":
        return ConfigurationError(f"The database refused ({name}).", hint="Check LSE_DATABASE_URL.")
    return LseError(f"The database refused a statement ({name}).")


_PASSING = ("starting up", "shutting down", "recovery", "too many", "reserved")


def _refused(message: str, place: str) -> LseError:
    """Our error for a failed connect. libpq gives no SQLSTATE then, only the server's FATAL line."""
    if "no password supplied" in message or "authentication failed" in message:
        return ConfigurationError(
            f"The database at {place} refused the user or password.", hint="Check LSE_DATABASE_URL."
        )
    if "FATAL" in message and not any(word in message for word in _PASSING):
        return ConfigurationError(
            f"The database at {place} refused the connection: no such database or user, or not from here.",
            hint="Check LSE_DATABASE_URL.",
        )
    return TemporaryError(
        f"The database at {place} does not answer.",
        hint="Is it running? Check LSE_DATABASE_URL and try again.",
    )


def _place(parameters: dict[str, Any]) -> str:
    """Host, port and database, without user and password."""
    host = parameters.get("host") or parameters.get("hostaddr") or "the local socket"
    port = f":{parameters['port']}" if parameters.get("port") else ""
    return f"{host}{port}/{parameters.get('dbname') or ''}".rstrip("/")
