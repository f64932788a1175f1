"""What happens to a text on its way into a jsonb column."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lse.models import UnreadableRun
from lse.store import rows


def without_nul(value: object) -> object:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {without_nul(key): without_nul(item) for key, item in value.items()}
    return [without_nul(item) for item in value] if isinstance(value, list) else value


texts = st.text(st.sampled_from('\0\\u0"a'), max_size=12)
values = st.recursive(
    texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)


@given(values)
def test_sanitizing_replaces_every_nul_and_nothing_else(value: object) -> None:
    text = json.dumps(value).encode()
    replaced, changed = rows.sanitize(text)
    assert json.loads(replaced) == without_nul(value)
    assert changed == (value != without_nul(value))


@pytest.mark.parametrize("number", ["1e1000", "-1.5E+1000", "1e-1000", "0e0001000", "9E131071", "1e99999"])
@pytest.mark.parametrize("around", ["[%s]", '{"a":%s}', '{"a":"\\"", "b":[1, %s , 2]}', '["1e5000]", %s]'])
def test_a_number_with_a_huge_exponent_is_refused(number: str, around: str) -> None:
    with pytest.raises(UnreadableRun):
        rows.refuse_huge_numbers((around % number).encode())


@pytest.mark.parametrize("number", ["1e999", "1e-400", "1E+0308", "123456789e0", "1.5e300", "100000000000"])
def test_other_numbers_are_not(number: str) -> None:
    rows.refuse_huge_numbers(f'[{number},{{"a":{number}}}]'.encode())


@given(st.text(st.sampled_from('1e05+-,[]{} "\\')))
def test_text_that_looks_like_a_huge_number_is_not_one(text: str) -> None:
    rows.refuse_huge_numbers(json.dumps([text, {text: text}]).encode())
