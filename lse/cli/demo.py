"""`lse demo`: the main job from end to end, on a local LangSmith and a local Google Drive."""

import importlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lse.cli.options import resources, settings
from lse.cli.output import print_data, print_line
from lse.errors import ConfigurationError
from lse.models.day import ProjectDay, each_day

if TYPE_CHECKING:
    from lse.sandbox import Sandbox

LAST_DAY = date(2025, 9, 15)
FIRST_DAY = LAST_DAY - timedelta(days=2)
PROJECTS = ("chat-research", "token-review")
_KEY = "sandbox-key"


def demo(
    folder: Annotated[Path, typer.Option(help="Where everything is put.")] = Path("demo"),
    traces: Annotated[int, typer.Option(min=1, help="Traces per project and day.")] = 12,
) -> None:
    """Do the whole job on a LangSmith and a Drive of this machine, and say what happens."""
    begin = time.monotonic()
    with _sandbox(folder) as sandbox:
        _heading("1. The LangSmith SDK writes traces of a sample application into the sandbox")
        _write_sample(sandbox, traces)
        _heading("2. A Prefect flow per project day: fetch, pack, upload, load, verify")
        code = _sweep()
        _heading("3. Reports from the runs store")
        _report("zenrows-errors", FIRST_DAY)
        _report("zenrows-detail", LAST_DAY)
        _heading("4. The same report as a Prefect flow, published as a CSV artifact")
        _publish()
    _heading(f"Done in {time.monotonic() - begin:.0f} seconds. What there is now")
    _say_where(folder)
    raise typer.Exit(code)


@contextmanager
def _sandbox(folder: Path) -> Iterator["Sandbox"]:
    """The running sandbox, with this process working in `folder` and set to use it and nothing else."""
    try:
        from lse.sandbox import Sandbox
    except ImportError as error:
        raise ConfigurationError(
            f"The sandbox needs the package {error.name}.", hint="pip install 'lse[sandbox,embedded]'"
        ) from None
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.chdir(folder)
    for name in [name for name in os.environ if name.startswith(("LSE_", "LANGSMITH_", "LANGCHAIN_"))]:
        del os.environ[name]  # the demo never touches what is real
    with Sandbox(api_key=_KEY) as sandbox:
        Path(".lse").mkdir(exist_ok=True, mode=0o700)
        key = sandbox.drive.write_credentials(Path(".lse/drive-key.json").absolute())
        os.environ |= {
            "LANGSMITH_TRACING": "false",
            "LANGSMITH_ENDPOINT": sandbox.langsmith.url,
            "LANGSMITH_API_KEY": _KEY,
            "LSE_LANGSMITH_RATE_LIMIT": "false",
            "LSE_TARGET": "drive",
            "LSE_DRIVE_API_ROOT": sandbox.drive.url,
            "LSE_DRIVE_CREDENTIALS": str(key),
        }
        print_line(f"sandbox: LangSmith at {sandbox.langsmith.url}, Drive at {sandbox.drive.url}")
        yield sandbox


def _write_sample(sandbox: "Sandbox", traces: int) -> None:
    from lse.cli.sandbox import sample_writer
    from lse.pipeline.common import counted

    write_sample = sample_writer()
    days = (LAST_DAY - FIRST_DAY).days + 1
    written = write_sample(
        sandbox.langsmith.url, _KEY, end=LAST_DAY, days=days, traces_per_day=traces, projects=PROJECTS
    )
    for day in written.days:
        print_line(
            f"{day.project}/{day.day}  {counted(day.runs, 'run')} in {counted(day.traces, 'trace')},"
            f" {counted(day.zenrows_failures, 'failed zenrows_scraper run')},"
            f" {counted(day.feedback, 'feedback record')}"
        )


def _sweep() -> int:
    """Sweep every project day by the flow; the first exit code that is not 0."""
    from lse.cli.sweep import sweep_by_flow
    from lse.pipeline import exit_code

    codes = []
    for project in PROJECTS:
        for day in each_day(FIRST_DAY, LAST_DAY):
            swept = sweep_by_flow(ProjectDay(project, day), (), force=False, quiet=False)
            codes.append(exit_code(swept))
    return next((code for code in codes if code), 0)


def _report(name: str, start: date) -> None:
    from lse.pipeline import report
    from lse.reports import Request

    print_line(f"$ lse report {name} --start-date {start} --end-date {LAST_DAY}")
    with resources() as opened:
        print_data(report(opened, name, Request(start, LAST_DAY)))


def _publish() -> None:
    flow = importlib.import_module("flows.reports").report
    state = flow(name="zenrows-errors", start=FIRST_DAY, end=LAST_DAY, return_state=True)
    print_line(str(state.message))


def _say_where(folder: Path) -> None:
    from lse.resources import embedded_postgres

    here = settings()
    for what, where in {
        "trace files": here.data_dir,
        "zips": here.archive_dir,
        "CSV artifacts": here.archive_dir / "reports",
        "database": embedded_postgres(here).status().folder,
        "Prefect's record": here.state_dir / "prefect",
    }.items():
        print_line(f"  {what:<18} {folder / where}")
    print_line("")
    if shutil.which("lse") is None:
        print_line(f"First, in each terminal: export PATH={Path(sys.executable).parent}:$PATH")
    print_line(f"Look into the database:  cd {folder} && lse db psql")
    print_line(
        f"See the flow runs:       PREFECT_HOME={folder / here.state_dir / 'prefect'} prefect server start"
    )
    print_line("")
    print_line("Your own project:")
    print_line("  export LANGSMITH_API_KEY=...        # and LANGSMITH_ENDPOINT outside the US region")
    print_line("  lse doctor")
    print_line("  lse archive full-sweep --project YOUR-PROJECT --date YYYY-MM-DD --skip-upload")


def _heading(text: str) -> None:
    for line in ("", text, "-" * len(text)):
        print_line(line)
