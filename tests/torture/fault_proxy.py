"""A proxy in front of Postgres that lets the n-th message of a client go wrong."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from psycopg import conninfo

_RESET = struct.pack("ii", 1, 0)
"""Close with an RST, as a peer does that went away."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to message number `at`, counted from 1 over all connections, that `containing` is in."""

    how: str
    """`before`: it is not sent on, and the connection is reset; `after`: it is sent on, and reset instead of
    the answer; `stall`: it is sent on, and no answer ever comes; `call`: it is sent on after `act`"""
    at: int = 1
    containing: bytes = b""
    act: Callable[[], Any] = lambda: None


class FaultProxy:
    """Passes everything on to the server at `url`; a context manager. `url` of this is where clients go."""

    def __init__(self, url: str) -> None:
        parameters = conninfo.conninfo_to_dict(url)
        self._host, self._port = str(parameters["host"]), int(parameters.get("port") or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = conninfo.make_conninfo(url, host="127.0.0.1", port=port, sslmode="disable")
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self.arm(None)

    def arm(self, fault: Fault | None) -> None:
        """From now on `fault` happens, once."""
        self._fault, self.seen, self.fired = fault, 0, threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # the proxy is closed
            try:
                server = self._connect()
            except OSError:
                client.close()
                continue
            self._sockets += [client, server]
            answers = threading.Event()
            answers.set()
            threading.Thread(target=self._requests, args=(client, server, answers), daemon=True).start()
            threading.Thread(target=self._answers, args=(client, server, answers), daemon=True).start()

    def _connect(self) -> socket.socket:
        if not self._host.startswith("/"):
            return socket.create_connection((self._host, self._port), 10)
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(str(Path(self._host) / f".s.PGSQL.{self._port}"))
        except OSError:
            server.close()
            raise
        return server

    def _requests(self, client: socket.socket, server: socket.socket, answers: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while message := client.recv(2**16):
                how = self._meets(message)
                if how == "before":
                    _reset(client)
                    break
                if how in ("after", "stall"):
                    answers.clear()
                server.sendall(message)
                if how == "after":
                    server.settimeout(0.5)  # in the midst of a COPY there is no answer
                    with contextlib.suppress(TimeoutError):
                        server.recv(2**16)
                    _reset(client)
                    break
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)  # also wakes the thread that waits for its answers

    def _answers(self, client: socket.socket, server: socket.socket, answers: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while True:
                answer = server.recv(2**16, socket.MSG_PEEK)
                if not answers.is_set():
                    return
                if not answer:
                    client.close()
                    return
                client.sendall(server.recv(len(answer)))

    def _meets(self, message: bytes) -> str:
        with self._lock:
            fault = self._fault
            if fault is None or fault.containing not in message:
                return ""
            self.seen += 1
            if self.seen != fault.at:
                return ""
        fault.act()
        self.fired.set()
        return fault.how


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RD)
    client.close()
