"""`lse doctor`: whether every connection works, and with `db`, whether the database is fit for its work."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from lse.cli import checks
from lse.cli.options import Json, resources
from lse.cli.output import print_json, print_line
from lse.errors import DifferencesFound

if TYPE_CHECKING:
    from lse.store.doctor import Finding

app = typer.Typer(invoke_without_command=True)


@app.callback()
def connections(context: typer.Context, json: Json = False) -> None:
    """Try LangSmith and the key, the target, the database and Prefect, one line each."""
    if context.invoked_subcommand is None:
        checks.doctor(json)


@app.command()
def db(json: Json = False) -> None:
    """Look at the database: settings, indexes, partitions, and the plan of each statement.

    Exit code 3 when something must be mended; each line then names the command that helps.
    """
    from lse.store.doctor import diagnose

    with resources() as opened:
        opened.store  # noqa: B018 - reachable and migrated, or said what to do
        findings = diagnose(opened.database_url, _report_statements())
    code = DifferencesFound.exit_code if any(f.severity == "mend" for f in findings) else 0
    if json:
        print_json({"exit_code": code, "findings": list(map(asdict, findings))})
    else:
        _print(findings)
    raise typer.Exit(code)


def _report_statements() -> dict[str, bytes]:
    """The query of each report."""
    from lse.reports import find_report, report_names

    return {f"report {name}": find_report(name).QUERY.encode() for name in report_names()}


def _print(findings: Sequence["Finding"]) -> None:
    for finding in findings:
        print_line(f"{finding.severity:<5} {finding.check:<10} {finding.item:<20} {finding.text}")
        if finding.command:
            print_line(f"{'':<16} → {finding.command}")
    wrong = sum(finding.severity == "mend" for finding in findings)
    print_line(f"{wrong} to mend" if wrong else "nothing to mend")
