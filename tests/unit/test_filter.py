"""Conditions on runs, as people write them."""

import json

import pytest

from lse.errors import UsageError
from lse.models import parse_run
from lse.models.filter import Condition, RunFilter, named
from lse.models.fingerprint import fingerprint

TEXT = json.dumps(
    {
        "id": "00000000-0000-0000-0000-000000000001",
        "trace_id": "00000000-0000-0000-0000-000000000001",
        "start_time": "2025-09-13T10:00:00",
        "name": "plan=a",
        "run_type": "LLM",
        "status": "ERROR",
        "error": "no answer after 12 s",
        "tags": ["prod", "v1"],
        "extra": {"metadata": {"user": 7, "ls_model_name": "gpt-4o", "a.b": True}},
    }
).encode()
RUN = parse_run(TEXT)


@pytest.mark.parametrize(
    "text",
    [
        *("name=plan=a", "name~lan", "type=llm", "status=error", "tag=v1", "tag~ro", "model=gpt-4o"),
        *("error~answer", "metadata.user=7", "metadata.a.b=true", "metadata.absent="),
    ],
)
def test_a_condition_that_holds(text: str) -> None:
    assert RunFilter.parse([text]).matches(RUN, TEXT)


def test_a_fingerprint_finds_messages_that_say_the_same() -> None:
    assert RunFilter.parse([f"fingerprint={fingerprint('no answer after 3 s')}"]).matches(RUN)


@pytest.mark.parametrize(
    "text", ["name=plan", "name~LAN", "type=LLM", "tag=", "model=", "error=answer", "metadata.user=8"]
)
def test_a_condition_that_does_not_hold(text: str) -> None:
    assert not RunFilter.parse([text]).matches(RUN, TEXT)


def test_all_conditions_must_hold() -> None:
    assert RunFilter.parse(["tag=prod", "tag=v1"]).matches(RUN)
    assert not RunFilter.parse(["tag=prod", "tag=v2"]).matches(RUN)
    assert RunFilter().matches(RUN)
    assert named("lan", contains=True) == RunFilter((Condition("name", "lan", True),))


@pytest.mark.parametrize("text", ["", "name", "nome=x", "=x", "metadata.=x", "name~", "Name=x"])
def test_what_is_no_condition_is_refused_with_the_fields_there_are(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        RunFilter.parse([text])
    assert caught.value.hint
