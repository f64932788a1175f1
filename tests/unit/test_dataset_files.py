"""How datasets are written, kept, read and compared."""

import codecs
import csv
import io
import json
import os
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet
import pytest

from lse.datasets import Chat, Example
from lse.datasets._builds import BuildRecord, builds, differences, find_build, keep
from lse.datasets._examples import example_id, key_of, name_in, read_examples
from lse.datasets._hashing import canonical, exact
from lse.datasets._writing import form_of, write
from lse.errors import UsageError


def line(inputs: Any, outputs: Any, **metadata: Any) -> bytes:
    return canonical({"inputs": inputs, "outputs": outputs, "metadata": metadata}) + b"\n"


LINES = [
    line({"question": "=1+1", "n": 1}, {"ok": True, "score": exact("1.50")}, trace_id="a"),
    line({"question": "two\nlines", "n": None}, {"ok": False, "score": exact("-2.25")}, trace_id="b"),
]


PLAIN = Chat()


def written(path: Path, form: str, lines: list[bytes] = LINES, chat: Chat = PLAIN) -> bytes:
    write(path, lines, form, chat)
    return path.read_bytes()


def test_the_langsmith_form_is_the_canonical_lines(tmp_path: Path) -> None:
    assert written(tmp_path / "d.jsonl", "langsmith") == b"".join(LINES)
    assert LINES[0] == (
        b'{"inputs":{"n":1,"question":"=1+1"},"metadata":{"trace_id":"a"},"outputs":{"ok":true,"score":1.50}}\n'
    )


def test_a_conversation_has_the_inputs_as_the_user_and_the_outputs_as_the_assistant(tmp_path: Path) -> None:
    lines = [line({"question": "why?"}, {"a": 1, "b": 2})]
    assert json.loads(written(tmp_path / "d", "chat", lines, Chat(system="Be brief."))) == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "why?"},
            {"role": "assistant", "content": '{"a":1,"b":2}'},
        ]
    }


def test_messages_of_the_application_are_the_conversation_as_they_are(tmp_path: Path) -> None:
    said = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    lines = [line({"messages": said, "other": 1}, {"text": "t", "other": 2})]
    found = json.loads(written(tmp_path / "d", "chat", lines, Chat(user="messages", assistant="text")))
    assert found == {"messages": [*said, {"role": "assistant", "content": "t"}]}


def test_csv_has_a_column_for_each_value_and_no_formula(tmp_path: Path) -> None:
    text = written(tmp_path / "d.csv", "csv").decode()
    assert list(csv.DictReader(io.StringIO(text))) == [
        {
            "inputs.n": "1",
            "inputs.question": "'=1+1",
            "outputs.ok": "true",
            "outputs.score": "1.50",
            "metadata": '{"trace_id":"a"}',
        },
        {
            "inputs.n": "",
            "inputs.question": "two\nlines",
            "outputs.ok": "false",
            "outputs.score": "-2.25",
            "metadata": '{"trace_id":"b"}',
        },
    ]


def test_csv_of_many_examples_has_one_header(tmp_path: Path) -> None:
    text = written(tmp_path / "d.csv", "csv", [line({"n": n}, {}) for n in range(2_500)]).decode()
    assert text.count("inputs.n") == 1
    assert len(text.splitlines()) == 2_501


def test_parquet_keeps_the_kinds_of_values(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    written(path, "parquet", [*LINES, line({"question": None, "n": 3}, {"ok": None, "score": None})])
    table = pyarrow.parquet.read_table(path)
    assert {name: str(kind) for name, kind in zip(table.column_names, table.schema.types, strict=True)} == {
        "inputs.n": "int64",
        "inputs.question": "string",
        "outputs.ok": "bool",
        "outputs.score": "double",
        "metadata": "string",
    }
    assert table.column("outputs.score").to_pylist() == [1.5, -2.25, None]


def test_parquet_writes_mixed_and_nested_values_as_json(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    written(path, "parquet", [line({"a": 1, "b": [1]}, {}), line({"a": "x", "b": {"c": 2**70}}, {})])
    table = pyarrow.parquet.read_table(path)
    assert table.column("inputs.a").to_pylist() == ["1", '"x"']
    assert table.column("inputs.b").to_pylist() == ["[1]", '{"c":1180591620717411303424}']


@pytest.mark.parametrize(
    ("name", "form", "chosen"),
    [
        ("d.jsonl", None, "langsmith"),
        ("d.CSV", None, "csv"),
        ("d.parquet", None, "parquet"),
        ("d.csv", "chat", "chat"),
    ],
)
def test_the_form_is_what_was_asked_for_or_what_the_name_says(
    name: str, form: str | None, chosen: str
) -> None:
    assert form_of(Path(name), form) == chosen


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(UsageError, match="no format 'xml'"):
        form_of(Path("d"), "xml")


@pytest.mark.parametrize("wrap", [lambda found: found, lambda found: {"name": "n", "examples": found}])
def test_files_of_the_earlier_tool_are_read_too(wrap: Any, tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    document = wrap([json.loads(text) for text in LINES])
    path.write_text(json.dumps(document, indent=1))
    assert [*read_examples(path)] == ["a", "b"]
    assert name_in(path) == ("n" if isinstance(document, dict) else "d")


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_a_single_line_is_a_dataset(mark: bytes, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(mark + LINES[0])
    assert [*read_examples(path)] == ["a"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no example"),
        ("{}", "line 1 has no inputs"),
        ('{"inputs": {}}\nnonsense', "line 2 is no JSON"),
        ('{"inputs": {"a": 1}, "outputs": [1]}', "outputs or metadata that are no object"),
        ('{"inputs": {"a": 1}}\n{"inputs": {"a": 1}}', "the example is there twice"),
    ],
)
def test_a_file_that_is_no_dataset_is_refused_with_the_place(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_examples(path)


def test_an_example_has_the_same_id_whenever_it_is_sent() -> None:
    assert example_id("questions", "a") == UUID("19aa45d6-c307-5b58-881f-f750e571f793")
    assert example_id("questions", "a") != example_id("other", "a")
    assert key_of(Example({"q": 1}, {"a": 1}, {})) == key_of(Example({"q": 1}, {"a": 2}, {}))
    assert key_of(Example({"q": 1}, {}, {"trace_id": "t"})) == "t"


def record(name: str, sha256: str, **changes: Any) -> BuildRecord:
    fields = {"recipe": "r", "recipe_sha256": "0", "project": "p", "start": "2025-09-13", "end": "2025-09-13"}
    return BuildRecord(name=name, content_sha256=sha256, examples=1, considered=2, **{**fields, **changes})


def test_builds_are_listed_and_found_by_name_or_by_hash(tmp_path: Path) -> None:
    first = keep(tmp_path, record("my data", "a" * 64), LINES)
    second = keep(tmp_path, record("my data", "b" * 64), LINES[:1])
    keep(tmp_path, record("other", "c" * 64), LINES)
    os.utime(first.with_suffix(".json"), (1, 1))
    assert [build.record.id for build in builds(tmp_path)] == [
        "my data@bbbbbbbbbbbb",
        "my data@aaaaaaaaaaaa",
        "other@cccccccccccc",
    ]
    assert find_build(tmp_path, "my data").path == second
    assert find_build(tmp_path, "my data@aaa").path == first
    with pytest.raises(UsageError, match="No dataset 'nothing' was built here"):
        find_build(tmp_path, "nothing")


def test_differences_are_named_by_key_and_field_and_another_window_is_none() -> None:
    def answer(text: str, window: str = "one") -> Example:
        return Example({"q": 1}, {"a": text}, {"window": window})

    one = {"a": answer("x"), "b": answer("y"), "c": answer("z"), "e": Example({}, {}, {"by": None})}
    other = {"b": answer("y", "two"), "c": answer("other"), "d": answer("x"), "e": Example({}, {}, {})}
    found = differences(one, other)
    assert (found.added, found.removed) == (["d"], ["a"])
    assert found.changed == {"c": ["outputs.a"], "e": ["metadata.by"]}
    assert found
    assert not differences({"a": answer("x")}, {"a": answer("x", "two")})
