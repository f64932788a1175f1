"""The fault language and the HTTP core: which requests a rule strikes, and what the client then sees."""

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from lse.sandbox.faults import Faults, Rule
from lse.sandbox.http import Request, Response, Server, json_response, route


class Greeter(Server):
    prefixes = ("", "/api/v1")
    fault_actions = frozenset({"rude"})

    def __init__(self) -> None:
        super().__init__()
        self.greeted: list[str] = []

    @route("GET", "/hello/{name}", operation="greet")
    def greet(self, request: Request) -> Response:
        self.greeted.append(request.params["name"])
        return json_response({"hello": request.params["name"], "rude": request.faults.get("rude", False)})

    @route("GET", "/hello/nobody", operation="greet_nobody")
    def greet_nobody(self, request: Request) -> Response:
        return json_response({"hello": None})

    @route("POST", "/echo")
    def echo(self, request: Request) -> Response:
        return Response(201, {"X-Words": ",".join(request.query.get("word", []))}, request.body)


@pytest.fixture
def server() -> Iterator[Greeter]:
    with Greeter() as greeter:
        yield greeter


def call(server: Server, method: str, path: str, body: Any = None, timeout: float = 5) -> tuple[int, bytes]:
    host, port = server.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def strikes(faults: Faults, count: int, operation: str = "list") -> list[dict[str, Any]]:
    return [faults.strike(operation, lambda _: "") for _ in range(count)]


def test_a_rule_skips_then_strikes_the_given_number_of_times() -> None:
    faults = Faults()
    faults.add(Rule({"status": 503}, skip=1, times=2))
    assert strikes(faults, 4) == [{}, {"status": 503}, {"status": 503}, {}]


def test_equal_actions_strike_one_after_the_other_and_different_ones_together() -> None:
    faults = Faults()
    faults.add(Rule({"status": 503}))
    faults.add(Rule({"status": 429}))
    faults.add(Rule({"delay": 1}, times=None))
    assert strikes(faults, 3) == [{"status": 503, "delay": 1}, {"status": 429, "delay": 1}, {"delay": 1}]


def test_the_same_seed_gives_the_same_chances() -> None:
    def pattern(seed: int) -> list[bool]:
        faults = Faults(seed=seed)
        faults.add(Rule({"status": 503}, times=None, probability=0.5))
        return [bool(struck) for struck in strikes(faults, 40)]

    assert pattern(1) == pattern(1)
    assert pattern(1) != pattern(2)
    assert 5 < sum(pattern(1)) < 35


def test_a_rule_matches_the_whole_operation_and_parts_of_the_request() -> None:
    faults = Faults()
    faults.add(
        Rule({"status": 503}, operation="list", match={"body": "cursor", "header": "(?i)x-a: b"}, times=None)
    )
    parts = {"body": '{"cursor": 1}', "header": "X-A: b"}
    assert faults.strike("list", parts.__getitem__) == {"status": 503}
    assert faults.strike("list_all", parts.__getitem__) == {}
    assert faults.strike("list", {"body": "", "header": "X-A: b"}.__getitem__) == {}


def test_an_unknown_action_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown action explode; known: .*handle_then_reset.*rude.*status"):
        Faults({"rude"}).add(Rule({"explode": 1}))


def test_an_unknown_action_over_http_is_a_400(server: Greeter) -> None:
    status, body = call(server, "POST", "/_sandbox/faults", json.dumps({"do": {"explode": 1}}))
    assert status == 400
    assert b"unknown action explode; known:" in body


def test_rules_and_seed_are_set_read_and_cleared_over_http(server: Greeter) -> None:
    plan = {"seed": 7, "rules": [{"operation": "greet", "do": {"rude": True}}]}
    assert call(server, "POST", "/_sandbox/faults", json.dumps(plan))[0] == 200
    assert json.loads(call(server, "GET", "/hello/ada")[1]) == {"hello": "ada", "rude": True}
    described = json.loads(call(server, "GET", "/_sandbox/faults")[1])
    assert (described["seed"], described["rules"][0]["fired"]) == (7, 1)
    assert call(server, "DELETE", "/_sandbox/faults")[0] == 204
    assert json.loads(call(server, "GET", "/_sandbox/faults")[1])["rules"] == []


def test_paths_are_served_with_and_without_the_prefix_and_fixed_ones_first(server: Greeter) -> None:
    assert call(server, "GET", "/api/v1/hello/a%2Fb")[1] == b'{"hello":"a/b","rude":false}'
    assert call(server, "GET", "/hello/nobody")[1] == b'{"hello":null}'
    assert call(server, "GET", "/nowhere")[0] == 404
    assert call(server, "POST", "/hello/ada")[0] == 405


def test_a_chunked_body_is_read_whole(server: Greeter) -> None:
    assert call(server, "POST", "/echo?word=a&word=b", iter([b"one ", b"two"])) == (201, b"one two")


def test_the_log_tells_every_request_and_can_be_cleared(server: Greeter) -> None:
    call(server, "POST", "/echo?x=1", b"12345")
    (entry,) = json.loads(call(server, "GET", "/_sandbox/log")[1])["entries"]
    told = {name: entry[name] for name in ("operation", "method", "path", "query", "status", "bytes_in")}
    assert told == {
        "operation": "echo",
        "method": "POST",
        "path": "/echo",
        "query": "x=1",
        "status": 201,
        "bytes_in": 5,
    }
    call(server, "DELETE", "/_sandbox/log")
    assert server.log == ()


def test_status_answers_without_handling_with_headers_and_form(server: Greeter) -> None:
    rule = {"status": 429, "reason": "slow down", "headers": {"Retry-After": "2"}}
    server.faults.add(Rule(rule))
    server.faults.add(Rule({"status": 502, "format": "html"}))
    server.faults.add(Rule({"status": 503, "format": "empty"}))
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(server.url + "/hello/ada")
    with caught.value as answer:
        assert (answer.code, answer.headers["Retry-After"]) == (429, "2")
        assert answer.read() == b'{"detail":"slow down"}'
    assert call(server, "GET", "/hello/ada")[1].startswith(b"<!DOCTYPE html>")
    assert call(server, "GET", "/hello/ada") == (503, b"")
    assert server.greeted == []


@pytest.mark.parametrize(
    ("do", "seen"),
    [
        ({"html": True}, (200, b"<!DOCTYPE html>")),
        ({"body": "null"}, (200, b"null")),
        ({"body": {}}, (200, b"{}")),
        ({"badjson": True}, (200, b'{"hello":"ada"')),
        ({"redirect": "http://127.0.0.1:9/"}, (307, b"")),
        ({"handle_then_status": 503}, (503, b'{"detail":')),
        ({"drip": 0.05}, (200, b'{"hello":"ada","rude":false}')),
        ({"delay": 0.05}, (200, b'{"hello":"ada","rude":false}')),
    ],
)
def test_what_the_client_sees(server: Greeter, do: dict[str, Any], seen: tuple[int, bytes]) -> None:
    server.faults.add(Rule(do))
    status, body = call(server, "GET", "/hello/ada")
    assert (status, body[: len(seen[1])]) == seen


@pytest.mark.parametrize(
    ("do", "error", "handled"),
    [
        ({"reset_before": True}, ConnectionError, False),
        ({"handle_then_reset": True}, ConnectionError, True),
        ({"reset_middle": True}, (ConnectionError, http.client.IncompleteRead), True),
        ({"truncate": 5}, http.client.IncompleteRead, True),
        ({"hang": 5}, TimeoutError, False),
    ],
)
def test_broken_connections(server: Greeter, do: dict[str, Any], error: Any, handled: bool) -> None:
    server.faults.add(Rule(do))
    with pytest.raises(error):
        call(server, "GET", "/hello/ada", timeout=0.3)
    assert server.greeted == (["ada"] if handled else [])
    assert call(server, "GET", "/hello/ada")[0] == 200


def test_a_connection_reset_while_the_body_is_sent(server: Greeter) -> None:
    server.faults.add(Rule({"reset_reading": 1000}))
    with pytest.raises(ConnectionError):
        call(server, "POST", "/echo", b"x" * 20_000_000)


def test_stop_ends_kept_connections_and_hanging_requests() -> None:
    server = Greeter().start()
    threads = set(threading.enumerate())
    server.faults.add(Rule({"hang": 60}, operation="echo"))
    host, port = server.url.removeprefix("http://").split(":")
    idle, hanging = (http.client.HTTPConnection(host, int(port)) for _ in range(2))
    idle.request("GET", "/hello/ada")
    idle.getresponse().read()
    hanging.request("POST", "/echo", b"x")
    began = time.perf_counter()
    server.stop()
    assert time.perf_counter() - began < 2
    idle.close()
    hanging.close()
    assert set(threading.enumerate()) - threads == set()
