"""Personal data does not get into examples, and what only looks like it stays."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lse.datasets import Field, Recipe, Rules, TracedRun
from lse.datasets._building import build
from lse.datasets._redaction import KINDS, redactor
from lse.errors import UsageError
from lse.models import ProjectDay

redact = redactor(KINDS)

PERSONAL = {
    "email": [
        "ada@example.org",
        "ada.lovelace+x@mail.example.co.uk",
        "ada%40example.org",
        "jürgen@exämple.de",
    ],
    "phone": [
        "+49 151 23456789",
        "+1 (555) 123-4567",
        "(555) 123-4567",
        "555-123-4567",
        "0049 30 1234567",
        "030 1234567",
    ],
    "card": ["4111 1111 1111 1111", "5500-0000-0000-0004", "340000000000009"],
    "iban": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432"],
    "ip": ["192.168.17.23", "2001:db8::8a2e:370:7334"],
    "secret": [
        "sk-proj-abcdefghijklmnop1234",
        "lsv2_pt_0123456789abcdef0123456789abcdef_0123456789",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    ],
}
SEEDED = [(kind, text) for kind, texts in PERSONAL.items() for text in texts]


@pytest.mark.parametrize(("kind", "text"), SEEDED)
def test_each_kind_is_replaced_by_its_name(kind: str, text: str) -> None:
    assert redact(f"It is {text}, they said.") == f"It is [{kind}], they said."


@pytest.mark.parametrize(
    "text",
    [
        "version 1.2.3, at 10:00:00 on 2025-09-13",
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0199a3f0-0000-7000-8000-000000001001",
        "order 4111 1111 1111 1112",
        "1757754000123456 microseconds",
        "std::vector and a::b",
        "@handle, 50% @ 3 pm",
        "999.999.999.999",
        "https://example.org/a/b?c=1",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert redact(text) == text


def test_numbers_and_keys_are_redacted_too() -> None:
    assert redact(
        {"ada@example.org": 4111111111111111, "n": 12, "d": Decimal("1.5"), "t": True, "z": None}
    ) == {
        "[email]": "[card]",
        "n": 12,
        "d": Decimal("1.5"),
        "t": True,
        "z": None,
    }


def test_keys_that_become_equal_lose_no_value() -> None:
    assert redact({"a@example.org": 1, "b@example.org": 2}) == {"[email]": 1, "[email] 2": 2}


def test_only_the_kinds_that_were_asked_for_are_redacted() -> None:
    assert redactor(["ip"])("ada@example.org from 10.0.0.1") == "ada@example.org from [ip]"


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to redact called shoe-size"):
        redactor(["shoe-size"])


def documents(seed: str) -> st.SearchStrategy[Any]:
    """JSON values that hold `seed` somewhere."""
    around = st.text(alphabet=st.sampled_from(" \n,;.:!?()[]{}\"'abc"), max_size=4)
    held = st.builds(lambda before, after: f"{before} {seed} {after}", around, around)
    return st.recursive(
        held,
        lambda inner: (
            st.lists(inner, min_size=1, max_size=3)
            | st.dictionaries(st.sampled_from("xyz"), inner, min_size=1)
            | st.dictionaries(held, inner, min_size=1, max_size=2)
        ),
        max_leaves=5,
    )


@given(data=st.data())
def test_seeded_personal_data_never_appears_in_an_example(data: st.DataObject) -> None:
    _, seed = data.draw(st.sampled_from(SEEDED))
    value = data.draw(documents(seed))
    rules = Rules(
        inputs={"question": Field(paths=("inputs",))},
        outputs={"answer": Field(paths=("outputs",))},
        metadata={"user": Field(paths=("extra",))},
        redact=KINDS,
    )
    members = {"id": "1", "inputs": {"a": value}, "outputs": value, "extra": [value]}
    feedback = [{"id": "f", "key": "k", "comment": f"from {seed}", "correction": value, "value": seed}]
    row = TracedRun("1", "1", 0, json.dumps(members), json.dumps(feedback))
    day = ProjectDay("chat", date(2025, 9, 13))
    with build(iter([(day, iter([row]))]), Recipe("r", rules, None, "h"), "w") as built:
        [line] = built.lines()
    assert seed not in line.decode()
    assert seed not in json.dumps(json.loads(line), ensure_ascii=False)
