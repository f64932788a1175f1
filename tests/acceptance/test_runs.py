"""`lse runs`, `lse trace`, `lse doctor db`, `lse db retain` and `search-index` as their users run them."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest

from lse.models import ProjectDay, RawRun, Trace
from lse.store import Store

DAY = ["--project", "chat", "--date", "2025-09-13"]
ROOT = UUID("0199d0aa-0000-7000-8000-000000000001")
CHILD = UUID("0199d0aa-0000-7000-8000-000000000002")
HOSTILE = "\x1b[2Jstep\n\u202eevil"


def raw(id: UUID, parent: UUID | None, **members: Any) -> RawRun:
    text = json.dumps(
        {"id": str(id), "trace_id": str(ROOT), "parent_run_id": str(parent) if parent else None}
        | {"start_time": "2025-09-13T10:00:00", "end_time": "2025-09-13T10:00:01.5", "status": "success"}
        | members
    )
    return RawRun(id, ROOT, parent, "", True, text.encode())


@pytest.fixture
def loaded(lse: Callable[..., Any], database_url: str) -> Callable[..., Any]:
    """`lse` with one trace of two runs in its store."""
    exact = raw(
        ROOT,
        None,
        name="agent",
        run_type="chain",
        total_tokens=1234,
        total_cost=0.00012,
        inputs={"question": "why\x1b[31m"},
    )
    root = RawRun(ROOT, ROOT, None, "", True, exact.text[:-1] + b',"exact":12345678901234567890.10}')
    child = raw(
        CHILD,
        ROOT,
        name=HOSTILE,
        run_type="llm",
        status="error",
        error="the secret of the error",
        outputs={"answer": "needle"},
    )
    started = datetime(2025, 9, 13, 10, tzinfo=UTC)
    day = ProjectDay("chat", date(2025, 9, 13))
    Store(database_url).load(day, [Trace(ROOT, started, (root, child), ())])
    return lse


def test_a_trace_is_printed_as_a_tree_without_its_text(loaded: Callable[..., Any]) -> None:
    answer = loaded("trace", "show", str(CHILD))
    assert answer.code == 0
    assert answer.out.splitlines() == [
        f"trace {ROOT} of chat/2025-09-13",
        "name             type   status  seconds  tokens      cost                                   run",
        f"agent           chain  success     1.50   1,234  0.000120  {ROOT}",
        f"  [2Jstep evil    llm    error     1.50       -         -  {CHILD}",
    ]
    assert "secret" in loaded("trace", "show", str(CHILD), "--errors").out
    whole = loaded("trace", "show", str(ROOT), "--inputs", "--outputs").out
    assert '"answer": "needle"' in whole
    assert not {"\x1b", "\u202e"} & set(whole)


def test_a_run_is_shown_and_its_json_keeps_every_digit(loaded: Callable[..., Any]) -> None:
    answer = loaded("runs", "show", str(ROOT))
    assert answer.code == 0
    assert "why" not in answer.out
    assert "total_cost         0.00012" in answer.out.splitlines()
    whole = loaded("runs", "show", str(ROOT), "--json").out
    assert '"exact": 12345678901234567890.10' in whole
    assert json.loads(whole)["data"]["inputs"] == {"question": "why\x1b[31m"}


def test_runs_are_listed_in_pages(loaded: Callable[..., Any]) -> None:
    first = loaded("runs", "list", *DAY, "--limit", "1", "--json").json
    assert [run["name"] for run in first["runs"]] == ["agent"]
    assert "error" not in first["runs"][0]
    second = loaded("runs", "list", *DAY, "--limit", "1", "--after", first["cursor"], "--json").json
    assert [run["name"] for run in second["runs"]] == [HOSTILE]
    assert second["cursor"] is None
    everything = loaded("runs", "list", *DAY, "--all")
    assert [line.split("chat  ")[1] for line in everything.out.splitlines()] == ["agent", "[2Jstep evil"]
    failed = loaded("runs", "list", *DAY, "--status", "error", "--errors")
    assert failed.out.splitlines()[1] == "    the secret of the error"


def test_runs_are_searched_and_followed(loaded: Callable[..., Any]) -> None:
    assert [run["run_id"] for run in loaded("runs", "search", "needle", *DAY[2:], "--json").json["runs"]] == [
        str(CHILD)
    ]
    nothing = loaded("runs", "search", "haystack", *DAY)
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "lse: no runs\n")
    changes = loaded("runs", "changes", "--json").json
    assert len(changes["runs"]) == 2
    later = loaded("runs", "changes", "--after", changes["cursor"])
    assert (later.out, later.err) == ("", f"lse: next time: --after {changes['cursor']}\n")


@pytest.mark.parametrize(
    ("identifier", "says"),
    [("nonsense", "is not an id"), (str(UUID(int=7)), "holds no run, trace or feedback")],
)
def test_an_id_that_is_none_or_unknown_is_refused(
    loaded: Callable[..., Any], identifier: str, says: str
) -> None:
    answer = loaded("trace", "show", identifier, "--json")
    assert (answer.code, answer.json["error"]["kind"]) == (2, "UsageError")
    assert says in answer.err


def test_the_doctor_looks_at_the_database(loaded: Callable[..., Any]) -> None:
    sound = loaded("doctor", "db")
    assert (sound.code, sound.out.splitlines()[-1]) == (0, "nothing to mend")
    loaded("db", "psql", "-c", "drop index runs_project_day")
    ill = loaded("doctor", "db", "--json")
    assert (ill.code, ill.json["exit_code"]) == (3, 3)
    assert [f["item"] for f in ill.json["findings"] if f["severity"] == "mend"] == ["runs_project_day"]


def test_the_index_for_searches_is_built_and_dropped(loaded: Callable[..., Any]) -> None:
    assert loaded("db", "search-index", "on").out == "built for 1 month\n"
    assert loaded("db", "search-index", "status", "--json").json["words"] > 0
    assert loaded("db", "search-index", "off").out == "dropped: words\n"


def test_a_month_that_is_not_in_the_archive_is_kept(loaded: Callable[..., Any]) -> None:
    asked = loaded("db", "retain", "--keep-months", "1", "--drop")
    assert asked.code == 4
    assert "2025-09: chat/2025-09-13: nothing of it is in the archive" in asked.out
    assert "Nothing was changed" in asked.err
    assert loaded("db", "retain", "--keep-months", "1", "--drop", "--yes", "--json").json["months"][0][
        "state"
    ] == ("kept")
    assert loaded("db", "retain", "--keep-months", "1").code == 2
