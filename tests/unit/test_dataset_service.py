"""Requests to an evaluation service: what is signed, what is repeated, what is not."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import pytest

from lse.datasets._service import (
    Patience,
    Service,
    legacy_request,
    require_success,
    send,
    sign,
    signed_request,
)
from lse.errors import AccessError, ConfigurationError, LseError, TemporaryError

KEY = UUID("0b5f3c1e-0000-4000-8000-000000000001")
NOW = datetime(2025, 9, 13, 10, 30, tzinfo=UTC)
QUICK = Patience(total=2, first_wait=0.01, longest_wait=0.02)


class Evaluations(ThreadingHTTPServer):
    """A small evaluation service: answers by a script, then 202, and begins each key only once."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[int | str] = []
        self.seen: list[dict[str, Any]] = []
        self.begun: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/evaluate"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = dict(parse_qsl(urlsplit(self.path).query))
        server.seen.append({"body": body, "query": query, "headers": dict(self.headers)})
        step = server.script.pop(0) if server.script else 202
        if step in ("lost", 202):
            server.begun.add(self.headers.get("Idempotency-Key") or f"request {len(server.seen)}")
        if step == "lost":
            self.close_connection = True
            return
        text = json.dumps({"accepted": step == 202}).encode()
        self.send_response(int(step))
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Location", "http://127.0.0.1:1/")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def evaluations() -> Iterator[Evaluations]:
    with Evaluations() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def service(server: Evaluations, **changes: Any) -> Service:
    return Service(**{"endpoint": server.url, "secret": "s3cret", **changes})


def signed(server: Evaluations) -> Any:
    return signed_request(service(server), "questions", "nightly", "token_name", key=KEY, now=NOW)


@pytest.mark.parametrize(
    ("secret", "body", "signature"),
    [
        # RFC 4231, test case 2
        (
            "Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            "s3cret",
            b'{"dataset_name":"questions","eval_type":"token_name","experiment_prefix":"nightly",'
            b'"timestamp":"2025-09-13T10:30:00Z"}',
            "2e0e7fe0c514f1688209462b139d8e86ad2e08a3c385bfa48cd816aa5f5cca8d",
        ),
    ],
)
def test_the_signature_is_that_of_the_test_vectors(secret: str, body: bytes, signature: str) -> None:
    assert sign(secret, body) == signature


def test_the_signature_is_over_the_exact_body_that_arrives(evaluations: Evaluations) -> None:
    answer = send(service(evaluations), signed(evaluations), QUICK)
    [seen] = evaluations.seen
    assert (answer.status, answer.text, answer.attempts) == (202, '{"accepted": true}', 1)
    assert json.loads(seen["body"]) == {
        "dataset_name": "questions",
        "experiment_prefix": "nightly",
        "eval_type": "token_name",
        "timestamp": "2025-09-13T10:30:00Z",
    }
    expected = hmac.new(b"s3cret", seen["body"], hashlib.sha256).hexdigest()
    assert seen["headers"]["X-Signature"] == f"sha256={expected}"
    assert seen["headers"]["Idempotency-Key"] == str(KEY)
    assert seen["headers"]["Content-Type"] == "application/json"


def test_a_lost_answer_is_asked_for_again_with_the_same_bytes_and_begins_nothing_twice(
    evaluations: Evaluations,
) -> None:
    evaluations.script = ["lost", 503, 500, 429]
    answer = send(service(evaluations), signed(evaluations), QUICK)
    assert (answer.status, answer.attempts) == (202, 5)
    assert len({(seen["body"], seen["headers"]["X-Signature"]) for seen in evaluations.seen}) == 1
    assert evaluations.begun == {str(KEY)}


def test_without_an_answer_in_time_the_key_to_ask_again_with_is_said(evaluations: Evaluations) -> None:
    evaluations.script = [500] * 1_000
    with pytest.raises(TemporaryError, match=r"answered 500|gave no answer") as error:
        send(
            service(evaluations), signed(evaluations), Patience(total=0.2, first_wait=0.01, longest_wait=0.02)
        )
    assert f"--idempotency-key {KEY}" in error.value.hint


def test_the_legacy_form_is_query_parameters_with_a_checksum(evaluations: Evaluations) -> None:
    request = legacy_request("questions", "nightly", "token_name", key=KEY)
    login = ("user", "password")
    assert send(service(evaluations, secret=None, login=login), request, QUICK).status == 202
    [seen] = evaluations.seen
    parameters = {"dataset_name": "questions", "experiment_prefix": "nightly", "eval_type": "token_name"}
    compact = json.dumps(parameters, sort_keys=True, separators=(",", ":"))
    assert (seen["body"], seen["query"]) == (b"", parameters)
    assert seen["headers"]["X-Signature"] == hashlib.sha256(compact.encode()).hexdigest()
    assert seen["headers"]["Authorization"] == "Basic dXNlcjpwYXNzd29yZA=="
    assert "Idempotency-Key" not in seen["headers"]


def test_a_legacy_request_is_repeated_only_when_nothing_was_begun(evaluations: Evaluations) -> None:
    request = legacy_request("questions", "nightly", "token_name", key=KEY)
    evaluations.script = [503, 429]
    assert send(service(evaluations), request, QUICK).attempts == 3
    for fault in ("lost", 500):
        evaluations.seen.clear()
        evaluations.script = [fault]
        with pytest.raises(TemporaryError) as error:
            send(service(evaluations), request, QUICK)
        assert "does not recognise repetitions" in error.value.hint
        assert len(evaluations.seen) == 1


def test_a_redirect_is_not_followed(evaluations: Evaluations) -> None:
    evaluations.script = [307]
    assert send(service(evaluations), signed(evaluations), QUICK).status == 307


def test_a_service_that_is_not_there_is_said_within_the_patience() -> None:
    nowhere = Service("http://127.0.0.1:9/evaluate", "s3cret")
    request = signed_request(nowhere, "d", "p", "t", key=KEY, now=NOW)
    with pytest.raises(TemporaryError, match="gave no answer") as error:
        send(nowhere, request, Patience(total=0.1, first_wait=0.01, longest_wait=0.02))
    assert "Is it running?" in error.value.hint


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AccessError), (403, AccessError), (307, ConfigurationError), (422, LseError)]
)
def test_a_refusal_is_an_error_of_its_kind(status: int, kind: type[LseError]) -> None:
    with pytest.raises(kind, match=str(status)):
        require_success(status)


def test_without_a_secret_nothing_is_signed(evaluations: Evaluations) -> None:
    with pytest.raises(ConfigurationError, match="LSE_EVAL_SECRET"):
        signed_request(service(evaluations, secret=None), "d", "p", "t", key=KEY, now=NOW)


@pytest.mark.parametrize(
    ("endpoint", "login"), [("http://evaluations.example/x", ("u", "p")), ("file:///etc/passwd", None)]
)
def test_a_password_is_not_sent_in_the_clear_and_an_endpoint_must_be_one(endpoint: str, login: Any) -> None:
    request = legacy_request("d", "p", "t", key=KEY)
    with pytest.raises(ConfigurationError):
        send(Service(endpoint, "s3cret", login), request, QUICK)


def test_secrets_do_not_show() -> None:
    assert "s3cret" not in repr(Service("https://x.example", "s3cret", ("u", "s3cret")))
