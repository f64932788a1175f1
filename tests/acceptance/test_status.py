"""`lse status` for those who watch over it: the score, its parts, and the exit code."""

from commands import PROJECT, Lse

DAY = ("--project", PROJECT, "--date", "2025-09-14")


def test_the_score_is_shown_with_its_parts_and_decides_on_the_exit_code_when_asked(lse: Lse) -> None:
    assert lse("archive", "fetch", *DAY).code == 0

    shown = lse("status")
    assert shown.code == 4  # the days since then are missing
    assert "  uploaded         0 of 20: 0 of 1 days with runs are in the target\n" in shown.out
    assert "    quarantine       10 of 10: 0 runs could not be loaded\n" in shown.out

    document = lse("status", "--json").json["projects"][0]["health"]
    assert sum(part["points"] for part in document["parts"]) == document["score"]
    assert [part["of"] for part in document["parts"]] == [40, 20, 20, 10, 10]

    assert lse("status", "--min-score", str(document["score"])).code == 4
    assert lse("status", "--min-score", str(document["score"] + 1)).code == 3


def test_where_nothing_is_archived_any_score_is_missed(lse: Lse) -> None:
    assert lse("status").code == 0
    assert lse("status", "--min-score", "1").code == 3
