"""`lse archive to-db`: archived days into the runs store."""

from typing import TYPE_CHECKING, Annotated

import typer

from lse.cli.options import Json
from lse.cli.output import log_to_stderr
from lse.cli.selection import Selection, takes_selection
from lse.models.day import ProjectDay
from lse.models.results import Progress, StepResult

if TYPE_CHECKING:
    from lse.resources import Resources


@takes_selection
def to_db(
    selection: Selection,
    batch_size: Annotated[
        int, typer.Option(min=1, max=100_000, help="Runs to send at a time; 16 MiB of text end a batch too.")
    ] = 2_000,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Write unchanged runs anew; no finished run by an unfinished."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Do everything, say what it came to, and take it back.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Say on stderr what is sent, or that nothing is.")
    ] = False,
    json: Json = False,
) -> None:
    """Load each day into the runs store: from its trace files, else its zip, else the target's copy."""
    from lse import pipeline
    from lse.cli.archive import run_archived

    def step(opened: "Resources", day: ProjectDay, progress: Progress) -> StepResult:
        if dry_run:
            return pipeline.load(
                opened, day, progress, batch_size=batch_size, overwrite=overwrite, dry_run=True
            )
        return pipeline.run_step("load", opened, day, progress, batch_size=batch_size, overwrite=overwrite)

    if verbose:
        log_to_stderr(1)
    run_archived("load", step, selection, json)
