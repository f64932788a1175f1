"""`lse` and its groups of commands."""

from pathlib import Path
from typing import Annotated

import typer

from lse import __version__
from lse.cli import (
    alerts,
    archive,
    care,
    checks,
    database,
    demo,
    deploy,
    doctor,
    drive,
    due,
    errors_log,
    evaluation,
    events,
    importing,
    metrics,
    report,
    runs,
    sandbox,
    status,
)
from lse.cli.once import refuse_repeated_options
from lse.cli.options import set_flags
from lse.cli.output import log_to_stderr, print_line

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Keep your team's LangSmith traces: fetch, archive, load into Postgres, prove, report.",
    epilog="Exit codes: 0 done, 1 unexpected, 2 usage, 3 differences, 4 partial, 5 access, 6 try again,"
    " 7 configuration, 130 interrupted.",
)
app.add_typer(archive.app, name="archive", help="Fetch, pack, upload, load, verify and restore project days.")
app.add_typer(report.app, name="report", help="Answer questions from the archived runs.")
app.add_typer(
    evaluation.app, name="eval", help="Datasets from archived traces, their copies in LangSmith, evaluations."
)
app.add_typer(runs.app, name="runs", help="Look at single runs in the store, search them, follow changes.")
app.add_typer(runs.trace_app, name="trace", help="Look at one trace in the store.")
app.add_typer(database.app, name="db", help="The runs store: the database and its schema.")
app.add_typer(
    drive.app, name="drive", help="Google Drive: sign in, make the folder, see whether uploads can work."
)
app.add_typer(sandbox.app, name="sandbox", help="A LangSmith and a Google Drive of your own, for trying out.")
app.command("status")(status.status)
app.command("alerts")(alerts.alerts)
app.command("events")(events.events)
app.command("errors")(errors_log.errors)
app.command("metrics")(metrics.metrics)
app.command("deploy")(deploy.deploy)
app.command("import")(importing.import_)
app.command("demo")(demo.demo)
app.command("config")(checks.config)
app.add_typer(doctor.app, name="doctor")
database.app.command("retain")(care.retain)
database.app.command("rebuild")(care.rebuild)
app.command("drill")(care.drill)
database.app.add_typer(care.search_index, name="search-index", help="The indexes that make searches fast.")

archive.app.command("sweep")(due.sweep)


def _version(wanted: bool) -> None:
    if wanted:
        print_line(f"lse {__version__}")
        raise typer.Exit


@app.callback()
def root(
    data_dir: Annotated[Path | None, typer.Option(help="Folder of trace files (LSE_DATA_DIR).")] = None,
    archive_dir: Annotated[Path | None, typer.Option(help="Folder of zips (LSE_ARCHIVE_DIR).")] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Folder of working state (LSE_STATE_DIR).")] = None,
    target: Annotated[str | None, typer.Option(help="Upload target (LSE_TARGET).")] = None,
    verbose: Annotated[int, typer.Option("--verbose", "-v", count=True, help="Say more on stderr.")] = 0,
    version: Annotated[  # noqa: ARG001 - the callback does the work
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options that stand before the command."""
    log_to_stderr(verbose)
    set_flags(data_dir=data_dir, archive_dir=archive_dir, state_dir=state_dir, target=target)


refuse_repeated_options(app)
