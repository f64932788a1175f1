"""Many projects and days at once: choose, plan, fetch, look back, as a user does it."""

from commands import LAST_DAY, PROJECT, Lse, Written

DAYS = ("--start-date", "2025-09-13", "--end-date", LAST_DAY.isoformat())


def test_a_plan_a_fetch_of_everything_and_what_is_left_to_do(lse: Lse, written: Written) -> None:
    projects = sorted({day.project for day in written.summary.days})
    wanted = [(project, day) for project in projects for day in ("2025-09-13", "2025-09-14")]

    plan = lse("archive", "fetch", "--all-projects", *DAYS, "--dry-run", "--json")
    assert (plan.code, plan.err) == (0, "")
    assert [(day["project"], day["date"]) for day in plan.json["days"]] == wanted
    assert plan.json["total"]["days"] == 4
    assert plan.json["total"]["runs"] == sum(day.runs for day in written.summary.days)
    assert plan.json["total"]["pages"] == 8
    assert not (lse.folder / "data").exists()

    nothing = lse("status")
    assert (nothing.code, nothing.out) == (0, "nothing is archived yet\n")
    assert "lse archive full-sweep" in nothing.err

    fetched = lse("archive", "fetch", "--all-projects", *DAYS, "--json")
    assert (fetched.code, fetched.err) == (0, "")
    assert [(day["project"], day["date"], day["state"]) for day in fetched.json] == [
        (*each, "done") for each in wanted
    ]

    packed = lse("archive", "zip", "--project", f"{PROJECT[:4]}*", *DAYS)
    assert (packed.code, len(packed.out.splitlines())) == (0, 2)
    assert all(line.startswith(PROJECT) for line in packed.out.splitlines())

    log = lse("archive", "log", "--all-projects", *DAYS)
    assert log.out.splitlines()[0].split() == [
        "project",
        "day",
        "time",
        "(UTC)",
        "added",
        "changed",
        "vanished",
        "feedback",
        "content",
    ]
    assert [line.split()[0] for line in log.out.splitlines()[1:]] == ["/".join(each) for each in wanted]

    status = lse("status", "--project", PROJECT, "--json")
    (state,) = status.json["projects"]
    assert (status.code, state["last_complete"], state["partial"]) == (4, "2025-09-14", [])
    assert state["missing"][0] == "2025-09-15"
    assert state["not_uploaded"] == ["2025-09-13", "2025-09-14"]


def test_a_sweep_of_days_that_are_settled_is_planned_to_cost_nothing(lse: Lse) -> None:
    assert lse("archive", "fetch", "--project", PROJECT, "--date", "2025-09-14").code == 0

    plan = lse("archive", "full-sweep", "--project", PROJECT, *DAYS, "--dry-run")

    first, second, total = plan.out.splitlines()[1:4]
    assert (plan.code, plan.err) == (0, "")
    assert first.split()[0] == f"{PROJECT}/2025-09-13"
    assert second.endswith("settled, skipped")
    assert total.split()[:3] == ["1", "to", "fetch"]


def test_a_day_that_fails_does_not_stop_the_others_and_a_gap_shows(lse: Lse) -> None:
    for date in ("2025-09-12", "2025-09-14"):
        assert lse("archive", "fetch", "--project", PROJECT, "--date", date).code == 0

    packed = lse(
        "archive", "zip", "--project", PROJECT, "--start-date", "2025-09-12", "--end-date", "2025-09-14"
    )
    status = lse("status")

    assert packed.code == 2
    assert [line.split()[2] for line in packed.out.splitlines()] == ["unchanged", "done"]
    assert "Nothing of chat-research/2025-09-13 is archived" in packed.err
    assert status.code == 4
    assert " days: 2025-09-13, 2025-09-15 to " in status.out


def test_what_is_chosen_wrongly_is_said_in_one_line(lse: Lse) -> None:
    cases = {
        ("archive", "fetch", "--project", "caht-*", "--last", "7d"): "No project matches 'caht-*'.",
        ("archive", "fetch", "--last", "7d"): "No project is given.",
        ("archive", "zip", "--all-projects", "--last", "7d"): "There is no project yet.",
        ("report", "zenrows-errors", "--last", "week"): "'week' is not a number of days.",
    }
    for arguments, said in cases.items():
        answer = lse(*arguments)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith(f"lse: {said}")
        assert len(answer.err.splitlines()) == 2
