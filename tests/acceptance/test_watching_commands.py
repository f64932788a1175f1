"""The commands that say what is due, what happened and what is wrong, as they are typed."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from commands import LAST_DAY, PROJECT, Lse

DAY = LAST_DAY.isoformat()


def test_a_sweep_says_what_is_due_and_why_and_then_does_it(lse: Lse) -> None:
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()

    planned = lse("archive", "sweep", "-p", PROJECT, "--dry-run")
    swept = lse("archive", "sweep", "-p", PROJECT, "--skip-upload")

    assert (planned.code, planned.out.splitlines()[-1]) == (0, "4 days are due")
    assert f"{PROJECT}/{yesterday}  recent" in planned.out
    assert (swept.code, swept.err) == (0, "")
    assert f"{PROJECT}/{yesterday}  fetch   done" in swept.out


def test_what_a_sweep_did_stays_known(lse: Lse, tmp_path: Path) -> None:
    lse("archive", "full-sweep", "-p", PROJECT, "-d", DAY, "--skip-upload")
    events = lse("events", "--kind", "day.*", "--json")
    errors = lse("errors", "--json")
    written = lse("metrics", "--textfile", str(tmp_path / "lse.prom"))
    alerts = lse("alerts", "--json")

    kinds = [json.loads(line)["kind"] for line in events.out.splitlines()]
    assert kinds == ["day.fetched", "day.packed", "day.loaded", "day.verified"]
    assert written.code == 0
    text = (tmp_path / "lse.prom").read_text()
    assert f'lse_runs_archived_total{{project="{PROJECT}"}} 49' in text.splitlines()
    assert alerts.code == 3
    assert {alert["cause"].split("/")[0] for alert in alerts.json["alerts"]} >= {"behind"}
    assert (errors.code, errors.json) == (0, [])


def test_who_is_to_be_told_must_be_set_and_a_deployment_needs_a_server(lse: Lse) -> None:
    told = lse("alerts", "--notify")
    deployed = lse("deploy")

    assert (told.code, told.err.splitlines()[0]) == (
        7,
        "lse: LSE_ALERT_WEBHOOK is not set, so nobody can be told.",
    )
    assert (deployed.code, deployed.err.splitlines()[0]) == (
        7,
        "lse: PREFECT_API_URL is not set, so there is no server to deploy to.",
    )
