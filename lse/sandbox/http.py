"""A small core for local HTTP servers: routes, a request log and faults, on the standard library alone.

A server is a class whose methods carry `@route`:

    class Greeter(Server):
        @route("GET", "/hello/{name}")
        def hello(self, request: Request) -> Response:
            return json_response({"hello": request.params["name"]})

    with Greeter() as server:
        urllib.request.urlopen(server.url + "/hello/ada")

Every server also answers `GET|DELETE /_sandbox/log` and `GET|POST|DELETE /_sandbox/faults`.
"""

import json
import logging
import re
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from lse.sandbox.faults import ACTIONS, OPTIONS, Faults, Rule

log = logging.getLogger(__name__)

HTML_PAGE = b"<!DOCTYPE html><html><head><title>Sorry</title></head><body><h1>Please wait</h1></body></html>"
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with a zero wait: closing sends RST, so the other side sees "connection reset by peer"."""
_PIECES = 20
_JOIN_SECONDS = 5.0


@dataclass(slots=True)
class Request:
    """One request, with its body read (Content-Length or chunked) and its path matched.

    `path` lacks the prefix and stays percent-encoded; `params` are the decoded parts of the path that the
    route names; `faults` holds the server's own fault actions that struck this request.
    """

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Message
    body: bytes = b""
    params: dict[str, str] = field(default_factory=dict)
    faults: dict[str, Any] = field(default_factory=dict)
    operation: str = ""

    def arg(self, name: str, default: str = "") -> str:
        """The first value of the query parameter `name`."""
        return self.query.get(name, [default])[0]

    def json(self) -> Any:
        """The body as JSON; a 400 is answered when it is none."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Refused(json_response({"detail": "The body is not JSON."}, 400)) from error


@dataclass(slots=True)
class Response:
    """Status, headers and the whole body of an answer."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Refused(Exception):
    """Raised by a handler to answer at once with `response`."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`value` as compact JSON."""
    return raw_json(json.dumps(value, separators=(",", ":")).encode(), status, headers)


def raw_json(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON text that is sent exactly as given."""
    return Response(status, {"Content-Type": "application/json"} | dict(headers or {}), body)


Handler = TypeVar("Handler", bound=Callable[..., Response])


@dataclass(frozen=True, slots=True)
class Route:
    """One row of a server's table: a method, a path with `{name}` parts, and the operation's name."""

    method: str
    template: str
    operation: str

    @property
    def pattern(self) -> re.Pattern[str]:
        """`{name}` matches one part of the path, `{name:path}` everything that is left."""
        parts = re.split(r"\{(\w+)(:path)?\}", self.template)
        texts = [re.escape(text) for text in parts[::3]]
        groups = [
            f"(?P<{name}>{'.+' if rest else '[^/]+'})"
            for name, rest in zip(parts[1::3], parts[2::3], strict=True)
        ]
        return re.compile("".join(t + g for t, g in zip(texts, [*groups, ""], strict=True)))


def route(method: str, template: str, operation: str = "") -> Callable[[Handler], Handler]:
    """Let a method of a `Server` answer `method` on `template`; its name is the default operation."""

    def mark(handler: Handler) -> Handler:
        row = Route(method, template, operation or handler.__name__)
        handler.__dict__.setdefault("routes", []).append(row)
        return handler

    return mark


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One request as the server saw it; `status` is 0 when no answer was sent, `time` is Unix seconds."""

    operation: str
    method: str
    path: str
    query: str
    status: int
    bytes_in: int
    bytes_out: int
    time: float
    seconds: float
    faults: tuple[str, ...]


class Server:
    """A local HTTP server on a loopback port of its own; a context manager that starts and stops it.

    Subclasses write methods with `@route`, may serve every path under several `prefixes`, name the fault
    actions their handlers understand in `fault_actions`, and shape errors in `error_response`.
    """

    prefixes: tuple[str, ...] = ("",)
    fault_actions: frozenset[str] = frozenset()

    def __init__(self, port: int = 0, *, seed: int = 0) -> None:
        """Port 0 takes a free one; `seed` decides the chances of faults."""
        self.faults = Faults(self.fault_actions, seed)
        self.stopping = threading.Event()
        self._table = _table(self)
        self._log: deque[LogEntry] = deque(maxlen=200_000)
        self._listener = _Listener(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True)

    def start(self) -> Self:
        """Answer requests from now on, in threads of their own."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close the port and every connection, and wait for the threads."""
        self.stopping.set()
        if self._thread.is_alive():
            self._listener.shutdown()
            self._thread.join(_JOIN_SECONDS)
        self._listener.server_close()
        self._listener.hang_up()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address without a slash at the end, such as `http://127.0.0.1:40123`."""
        return f"http://127.0.0.1:{self._listener.server_port}"

    @property
    def log(self) -> tuple[LogEntry, ...]:
        """The requests so far, oldest first, without those to `/_sandbox/`."""
        return tuple(self._log)

    def clear_log(self) -> None:
        """Forget the requests so far."""
        self._log.clear()

    def error_response(self, status: int, reason: str = "") -> Response:
        """The answer of an error; subclasses give it their service's form."""
        return json_response({"detail": reason or HTTPStatus(status).phrase}, status)

    def prepare(self, request: Request) -> None:
        """Change a request before it is routed; its body is not read yet. Does nothing by default."""

    def authorize(self, request: Request) -> None:
        """Raise `Refused` when the request lacks a right. Lets everybody in by default."""

    def find(self, request: Request) -> Callable[[Request], Response]:
        """The handler of `request`, whose `operation`, `params` and `path` it fills in."""
        other_method = False
        for prefix in sorted(self.prefixes, key=len, reverse=True):
            if not request.path.startswith(prefix):
                continue
            path = request.path.removeprefix(prefix)
            for row, pattern, handler in self._table:
                if found := pattern.fullmatch(path):
                    if row.method == request.method:
                        request.path, request.operation = path, row.operation
                        request.params = {name: unquote(text) for name, text in found.groupdict().items()}
                        return handler
                    other_method = True
        status = 405 if other_method else 404
        request.operation = "unknown"
        return lambda _: self.error_response(status)

    def respond(self, handler: Callable[[Request], Response], request: Request) -> Response:
        """What `handler` answers, refusals included."""
        try:
            if not request.path.startswith("/_sandbox/"):
                self.authorize(request)
            return handler(request)
        except Refused as refusal:
            return refusal.response

    def record(self, entry: LogEntry) -> None:
        """Add `entry` to the log."""
        self._log.append(entry)

    @route("GET", "/_sandbox/log")
    def read_log(self, _: Request) -> Response:
        return json_response({"entries": [asdict(entry) for entry in self.log]})

    @route("DELETE", "/_sandbox/log")
    def delete_log(self, _: Request) -> Response:
        self.clear_log()
        return Response(204)

    @route("GET", "/_sandbox/faults")
    def read_faults(self, _: Request) -> Response:
        return json_response(self.faults.describe())

    @route("POST", "/_sandbox/faults")
    def add_faults(self, request: Request) -> Response:
        """Takes one rule, a list of rules, or an object with `rules` and `seed`."""
        value = request.json()
        plan = value if isinstance(value, dict) and value.keys() & {"rules", "seed"} else {"rules": value}
        rules = plan.get("rules", [])
        try:
            for rule in [Rule.from_json(v) for v in (rules if isinstance(rules, list) else [rules])]:
                self.faults.add(rule)
            if "seed" in plan:
                self.faults.reseed(int(plan["seed"]))
        except (ValueError, TypeError) as error:
            return json_response({"detail": str(error)}, 400)
        return json_response(self.faults.describe())

    @route("DELETE", "/_sandbox/faults")
    def delete_faults(self, _: Request) -> Response:
        self.faults.clear()
        return Response(204)


def _table(server: Server) -> list[tuple[Route, re.Pattern[str], Callable[[Request], Response]]]:
    """The routes of `server`, fixed paths before those with named parts."""
    members = {name for kind in type(server).__mro__ for name in vars(kind)}
    rows = [
        (row, row.pattern, getattr(server, name))
        for name in sorted(members)
        for row in getattr(getattr(type(server), name), "routes", ())
    ]
    return sorted(rows, key=lambda entry: (entry[0].template.count(":path"), entry[0].template.count("{")))


class _Listener(ThreadingHTTPServer):
    """Accepts connections and remembers them, so that `hang_up` can end those that are kept alive."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], server: Server) -> None:
        self.server = server
        self._open: dict[threading.Thread, socket.socket] = {}
        self._open_lock = threading.Lock()
        super().__init__(address, _Connection)

    def server_bind(self) -> None:
        """Bind without the look-up of our own host name, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open[threading.current_thread()] = request
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._open_lock:
                del self._open[threading.current_thread()]

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A client that hangs up is ordinary; anything else is a bug of ours and goes to the log."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            log.error("a sandbox handler failed", exc_info=error)

    def hang_up(self) -> None:
        """End all connections and wait for their threads."""
        with self._open_lock:
            connections = list(self._open.items())
        for thread, connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                log.debug("connection was already closed")
            thread.join(_JOIN_SECONDS)


class _Connection(BaseHTTPRequestHandler):
    """One connection: reads requests, lets faults strike, sends answers."""

    protocol_version = "HTTP/1.1"
    # Without it every answer waits 40 ms for the client's delayed acknowledgement (measured).
    disable_nagle_algorithm = True
    server: _Listener

    def do_GET(self) -> None:
        owner = self.server.server
        began, clock = time.time(), time.perf_counter()
        target = urlsplit(self.path)
        self._left = _body_length(self.headers)
        request = Request(self.command, target.path, parse_qs(target.query, True), self.headers)
        owner.prepare(request)
        handler = owner.find(request)
        faults = {} if request.path.startswith("/_sandbox/") else self._strike(owner, request, target.query)
        response = self._answer(owner, handler, request, faults)
        body = self._visible(response.body, faults) if response else b""
        if not request.path.startswith("/_sandbox/"):
            # Before anything is sent, so that a client that has its answer also finds it in the log.
            owner.record(
                LogEntry(
                    operation=request.operation,
                    method=request.method,
                    path=request.path,
                    query=target.query,
                    status=response.status if response else 0,
                    bytes_in=len(request.body),
                    bytes_out=len(body),
                    time=began,
                    seconds=time.perf_counter() - clock,
                    faults=tuple(faults),
                )
            )
        if response:
            self._send(self._head(response), body, faults)
        elif "hang" in faults:
            owner.stopping.wait(float(faults["hang"]))
            self.close_connection = True
        else:
            self._reset(orderly="close" in faults.values())

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET  # noqa: N815 - the base class looks these names up

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the request log is `Server.log`."""

    def _strike(self, owner: Server, request: Request, query: str) -> dict[str, Any]:
        def part(name: str) -> str:
            match name:
                case "path":
                    return request.path
                case "query":
                    return unquote(query)
                case "body":
                    self._read(request)
                    return request.body.decode("utf-8", "replace")
                case _:
                    return "\n".join(f"{key}: {value}" for key, value in request.headers.items())

        faults = owner.faults.strike(request.operation, part)
        request.faults = {name: value for name, value in faults.items() if name not in ACTIONS | OPTIONS}
        return faults

    def _answer(
        self,
        owner: Server,
        handler: Callable[[Request], Response],
        request: Request,
        faults: dict[str, Any],
    ) -> Response | None:
        """The answer to one request under `faults`; None when the client gets none."""
        owner.stopping.wait(float(faults.get("delay", 0)))
        self._read(request, faults.get("reset_reading"))
        if faults.keys() & {"reset_reading", "hang", "reset_before"}:
            return None
        response = _instead(owner, faults) or owner.respond(handler, request)
        if "handle_then_reset" in faults:
            return None
        if "handle_then_status" in faults:
            response = _failure(owner, int(faults["handle_then_status"]), faults)
        if "badjson" in faults:
            response.body = response.body[: max(1, len(response.body) // 2)]
        return response

    def _visible(self, body: bytes, faults: dict[str, Any]) -> bytes:
        """What is sent of `body`, whatever the Content-Length says."""
        if self.command == "HEAD":
            return b""
        if "reset_middle" in faults:
            return body[: len(body) // 2]
        return body[: int(faults["truncate"])] if "truncate" in faults else body

    def _read(self, request: Request, limit: int | None = None) -> None:
        """Read what is left of the body, at most `limit` bytes of it."""
        if self._left is None:
            request.body, self._left = b"".join(self._chunks()), 0
        elif self._left:
            wanted = self._left if limit is None else min(limit, self._left)
            request.body += self.rfile.read(wanted)
            self._left -= wanted

    def _chunks(self) -> Iterable[bytes]:
        """The pieces of a body sent with `Transfer-Encoding: chunked` (RFC 9112, section 7.1)."""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def _send(self, head: bytes, body: bytes, faults: dict[str, Any]) -> None:
        if "drip" in faults:
            self.wfile.write(head)
            step = max(1, -(-len(body) // _PIECES))
            for start in range(0, len(body), step):
                self.server.server.stopping.wait(float(faults["drip"]) / _PIECES)
                self.wfile.write(body[start : start + step])
        else:
            self.wfile.write(head + body)
        if "reset_middle" in faults:
            self._reset()
        if "truncate" in faults:
            self.close_connection = True

    def _head(self, response: Response) -> bytes:
        try:
            phrase = HTTPStatus(response.status).phrase
        except ValueError:
            phrase = "Unnamed"
        headers = {"Date": self.date_time_string(), "Server": "lse-sandbox"} | response.headers
        if response.status != 204:
            headers["Content-Length"] = str(len(response.body))
        lines = [
            f"HTTP/1.1 {response.status} {phrase}",
            *(f"{name}: {text}" for name, text in headers.items()),
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _reset(self, *, orderly: bool = False) -> None:
        """Drop the connection: the client sees it as reset, or as ended when `orderly`."""
        self.close_connection = True
        if not orderly:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            # `shutdown` in the base class would send an orderly FIN first; closing here sends RST at once.
            self.rfile.close()
            self.connection.close()


def _body_length(headers: Message) -> int | None:
    """The length of the body that follows, or None when it comes in chunks."""
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        return None
    return int(headers.get("Content-Length") or 0)


def _instead(owner: Server, faults: dict[str, Any]) -> Response | None:
    """The answer that a fault gives in place of the handler's, if one does."""
    if "redirect" in faults:
        return Response(307, {"Location": str(faults["redirect"])})
    if "status" in faults:
        return _failure(owner, int(faults["status"]), faults)
    if "html" in faults:
        return Response(200, {"Content-Type": "text/html"}, HTML_PAGE)
    if "body" in faults:
        text = faults["body"]
        return raw_json((text if isinstance(text, str) else json.dumps(text)).encode())
    return None


def _failure(owner: Server, status: int, faults: dict[str, Any]) -> Response:
    """An error answer in the form that the rule's options ask for."""
    match faults.get("format", "json"):
        case "html":
            response = Response(status, {"Content-Type": "text/html"}, HTML_PAGE)
        case "empty":
            response = Response(status)
        case _:
            response = owner.error_response(status, str(faults.get("reason", "")))
    response.headers |= {name: str(text) for name, text in faults.get("headers", {}).items()}
    return response
