"""`lse archive sweep`: whatever is due, found in the ledger."""

from typing import Annotated

import typer

from lse.cli.options import Json, resources
from lse.cli.output import print_json, print_line
from lse.cli.selection import AllProjects, Projects, utc_today
from lse.models.choice import choose


def sweep(
    project: Projects = None,
    all_projects: AllProjects = False,
    days_back: Annotated[int, typer.Option(min=1, help="Leave gaps older than this alone.")] = 400,
    skip_upload: Annotated[bool, typer.Option("--skip-upload", help="Do not upload.")] = False,
    skip_db: Annotated[bool, typer.Option("--skip-db", help="Do not load into the store.")] = False,
    skip_verify: Annotated[bool, typer.Option("--skip-verify", help="Do not compare the copies.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say which days are due, and why; do nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Sweep whatever is due: days that may still change, gaps, and what was left partial, failed or unproved.

    Of a project that was never archived, only the days of which LangSmith's figures may still change.
    """
    from lse.cli.sweep import sweep_days
    from lse.pipeline import due_days, require_projects
    from lse.pipeline.common import counted

    wanted = {"upload": skip_upload, "load": skip_db, "verify": skip_verify}
    skip = frozenset(step for step, skipped in wanted.items() if skipped)
    with resources() as opened:
        names = choose(project or (), all_projects, lambda: [each.name for each in opened.source.projects()])
        require_projects(opened, names)
        due = due_days(opened, names, utc_today(), days_back=days_back, compared=not skip_verify)
        if dry_run and json:
            print_json([{"project": d.day.project, "date": str(d.day.day), "reason": d.reason} for d in due])
        elif dry_run or not due:
            for each in due:
                print_line(f"{each.day}  {each.reason}")
            are = "is" if len(due) == 1 else "are"
            print_line(f"{counted(len(due), 'day')} {are} due" if due else "nothing is due")
        else:
            sweep_days(opened, [d.day for d in due], skip=skip, force=False, flow=False, json=json)
