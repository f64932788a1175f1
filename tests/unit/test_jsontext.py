"""Cutting JSON text into its parts without changing a byte."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lse.archive.jsontext import MalformedJson, elements, fields, members, one_line

ODD = [
    b"123456789012345678901234567890",
    b"-0",
    b"-0.0",
    b"1e400",
    b"1E-400",
    b"9" * 5000,
    b'{"a":1,"a":2}',
    b'"\\u0000"',
    b'"\\ud800"',
    b'"\\""',
    b'"\\\\"',
    b'"\\\\\\""',
    b'"],}{[,:"',
    b"NaN",
    b"[" * 5000 + b"]" * 5000,
    b'{"k":' * 5000 + b"0" + b"}" * 5000,
    '"Grüße 🦜"'.encode(),
    b'"\xff\xfe"',
    b"[ 1 ,\t2 ]",
    b'{ "a" : { } }',
    b"[]",
    b'""',
    b"null",
]
"""Values that a parser changes or refuses."""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
spaces = st.text(" \t\r\n", max_size=3).map(str.encode)


def written(value: Any, *, ascii_only: bool = True, indent: int | None = None) -> bytes:
    return json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("value", ODD, ids=lambda value: value[:12].decode("latin-1"))
def test_an_odd_value_is_cut_out_of_an_array_and_an_object_as_it_is(value: bytes) -> None:
    assert elements(b"[1, " + value + b" ,2]") == [b"1", value, b"2"]
    assert members(b'{"x": ' + value + b' ,"y":2}') == [("x", value), ("y", b"2")]


@given(st.lists(st.tuples(json_values, st.booleans(), spaces, spaces)))
def test_any_values_are_cut_out_of_an_array_byte_for_byte(items: list[Any]) -> None:
    texts = [written(value, ascii_only=ascii_only) for value, ascii_only, _, _ in items]
    padded = [before + text + after for text, (_, _, before, after) in zip(texts, items, strict=True)]
    assert elements(b" [" + b",".join(padded) + b"]\n") == texts


@given(st.lists(st.tuples(st.text(), json_values, spaces)))
def test_any_members_are_cut_out_of_an_object_byte_for_byte_duplicates_included(items: list[Any]) -> None:
    pairs = [written(key) + space + b":" + space + written(value) for key, value, space in items]
    text = b"{" + b" ,\n".join(pairs) + b"}"
    assert members(text) == [(key, written(value)) for key, value, _ in items]
    assert list(fields(text).items()) == list({key: written(value) for key, value, _ in items}.items())


@given(json_values, st.sampled_from([None, 1, 4]))
def test_taking_line_breaks_out_changes_no_value(value: Any, indent: int | None) -> None:
    text = written([value], indent=indent)
    line = one_line(text)
    assert b"\n" not in line
    assert json.loads(line) == [value]


@given(st.lists(json_values, min_size=1), st.data())
def test_half_an_array_is_never_taken_for_a_whole_one(values: list[Any], data: st.DataObject) -> None:
    text = written(values)
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(MalformedJson):
        elements(text[:cut])


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"{}",
        b'{"runs":[]}',
        b"[",
        b"]",
        b"[1",
        b"[1,]",
        b"[,1]",
        b"[1,,2]",
        b"[1]]",
        b"[1] 2",
        b"[1}",
        b'["a]',
        b'["a\\"]',
        b"[[1]",
        b"[{]}",
        b"<html></html>",
        b"\xef\xbb\xbf[]",
    ],
)
def test_what_is_no_complete_array_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedJson):
        elements(text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"a"}',
        b'{"a":}',
        b'{"a":1,}',
        b"{:1}",
        b"{a:1}",
        b'{"a" "b":1}',
        b'{"a\\q":1}',
        b'{"\xff":1}',
        b'{"a":1}{"b":2}',
        b'{"a":[1}',
        b'{"a":"x}',
    ],
)
def test_what_is_no_complete_object_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedJson):
        members(text)


def test_the_refusal_quotes_nothing_of_the_text() -> None:
    for text in (b'{"secret\\q":1}', b'{"secret":1', b"secret", b'{"secret" "secret":1}'):
        with pytest.raises(MalformedJson) as caught:
            members(text)
        assert "secret" not in str(caught.value)


def test_keys_are_decoded_and_values_are_not() -> None:
    assert members(b'{"\\u0061\\"":"\\u0061"}') == [('a"', b'"\\u0061"')]


def test_a_line_break_between_tokens_becomes_one_space() -> None:
    assert one_line(b'{\r\n  "a": "x\\ny  z",\n\n  "b":  1\n}') == b'{ "a": "x\\ny  z", "b":  1 }'


def test_text_without_line_breaks_is_the_same_text() -> None:
    assert one_line(b'{"a":  1}') == b'{"a":  1}'


def test_long_white_space_costs_no_more_than_its_length() -> None:
    text = b'{"a":\n"' + b" " * 300_000 + b'"}'
    begin = time.perf_counter()
    assert one_line(text) == b'{"a": "' + b" " * 300_000 + b'"}'
    assert time.perf_counter() - begin < 2
