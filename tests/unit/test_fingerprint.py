"""Messages that say the same share a template and a fingerprint, whatever values they hold."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lse.models.fingerprint import error_template, fingerprint

TEMPLATES = [
    (
        "HTTPError('403 Client Error: Forbidden for url: https://example.org/a?b=1')"
        "Traceback (most recent call last):\n  x",
        "HTTPError: 403 Client Error: Forbidden for url: <url>",
    ),
    ("TimeoutError: no answer after 12.5 s", "TimeoutError: no answer after <number> s"),
    ("RateLimitError: Error code: 429 - wait 7 s", "RateLimitError: Error code: 429 - wait <number> s"),
    ("run 0199d0aa-0000-7000-8000-000000000001 is not there", "run <id> is not there"),
    ("no route to 10.0.0.1:8080", "no route to <address>"),
    ("ann@example.org asked", "<email> asked"),
    ("No such file: /var/lib/app/data.json", "No such file: <path>"),
    ("could not convert string to float: 'abc'", "could not convert string to float: <text>"),
    ("it can't be and isn't", "it can't be and isn't"),
    ("KeyError('symbol')", "KeyError: symbol"),
    ("took 450 ms", "took <number> ms"),
    ("a\n  b\tc", "a b c"),
    ("", ""),
    (None, ""),
]


@pytest.mark.parametrize(("message", "template"), TEMPLATES, ids=[str(shown) for _, shown in TEMPLATES])
def test_values_leave_a_message(message: str | None, template: str) -> None:
    assert error_template(message) == template


def test_a_status_tells_errors_apart_and_a_number_does_not() -> None:
    assert fingerprint("Error code: 429") != fingerprint("Error code: 500")
    assert fingerprint("after 12 tries") == fingerprint("after 7 tries")
    assert fingerprint("boom") == "81f52337eb"


def test_what_stands_behind_300_characters_does_not_count() -> None:
    begin = "word " * 60
    assert fingerprint(begin + "x") == fingerprint(begin + "y 17")


@given(st.text(max_size=400))
def test_the_first_300_characters_say_it_all(text: str) -> None:
    assert error_template(text) == error_template(text[:300])
    assert len(error_template(text)) <= 160
    assert "\n" not in error_template(text)


@pytest.mark.parametrize("text", ["a" * 300, "'" * 300, "/a" * 150, "a@" * 150, "1." * 150, "-" * 299 + "1"])
def test_no_message_takes_long(text: str) -> None:
    began = time.perf_counter()
    error_template(text)
    assert time.perf_counter() - began < 0.1
