"""`lse archive prune`: take copies of old days away, where others are proved whole."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lse.cli.options import Json, resources
from lse.cli.output import print_json, print_line, tell
from lse.cli.selection import Projects
from lse.models.choice import choose

if TYPE_CHECKING:
    from lse.pipeline import Pruned

What = Annotated[
    list[str] | None,
    typer.Option("--what", help="`files`, `zip` or `target`; may be given repeatedly. Default: files."),
]


def prune(
    keep_days: Annotated[int, typer.Option(min=0, help="Leave the last so many UTC days as they are.")],
    project: Projects = None,
    what: What = None,
    max_share: Annotated[
        float, typer.Option(min=0, max=100, help="Refuse when more than this percentage of days is due.")
    ] = 10,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what would be done.")] = False,
    json: Json = False,
) -> None:
    """Move trace files, zips or target objects of old days to the trash. Only says so without --yes.

    Each day is verified just before, and stays as it is unless two of three places keep it whole: this disk,
    the target, the store. Nothing is deleted; `lse archive restore` brings trace files back.
    """
    from lse import pipeline

    with resources() as opened:
        names = choose(project, False, lambda: pipeline.archived_projects(opened)) if project else None
        found = pipeline.prune(
            opened,
            names,
            keep_days=keep_days,
            what=what or ["files"],
            max_share=max_share,
            execute=yes,
            tell=lambda each: None if json else _print(each, done=yes),
        )
    code = next((each.exit_code for each in found if each.exit_code), 0)
    if json:
        print_json({"exit_code": code, "done": yes, "days": list(map(asdict, found))})
    else:
        _conclude(found, done=yes)
    raise typer.Exit(code)


def _print(each: "Pruned", *, done: bool) -> None:
    from lse.pipeline.common import sized

    if each.reason:
        tell(f"{each.day}  stays: {each.reason}")
        return
    verb = "pruned" if done else "would go"
    print_line(f"{each.day}  {verb}: {', '.join(each.copies)} ({sized(each.bytes)}); whole in {each.left}")


def _conclude(found: Sequence["Pruned"], *, done: bool) -> None:
    from lse.pipeline.common import counted, sized

    taken = [each for each in found if not each.reason]
    total = f"{counted(len(taken), 'day')}, {sized(sum(each.bytes for each in taken))}"
    if not found:
        print_line("nothing is due")
    elif not done:
        print_line(f"{total} would go; nothing was changed")
        tell("    To do it: the same command with --yes")
    else:
        print_line(f"{total} went to the trash")
        if any({"files", "zip"} & set(each.copies) for each in taken):
            tell("    The space is free once you remove .trash below LSE_DATA_DIR and LSE_ARCHIVE_DIR.")
