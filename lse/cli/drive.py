"""`lse drive`: sign in to Google Drive, make the folder of archives, see whether uploads can work."""

import threading
import webbrowser
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lse.cli.options import Json, settings
from lse.cli.output import error_document, print_json, print_line, tell

if TYPE_CHECKING:
    from lse.targets.drive import DriveStatus, DriveTarget

app = typer.Typer(no_args_is_help=True)


@app.command()
def login(
    browser: Annotated[
        bool, typer.Option(help="Open the address in a browser; else it is only printed.")
    ] = True,
    json: Json = False,
) -> None:
    """Sign in as a person: consent in the browser, and keep credentials that renew themselves.

    Needs LSE_DRIVE_CLIENT. On a machine without a browser, forward the port that the address names to yours.
    """
    from lse.targets.drive import login as sign_in

    def show(address: str) -> None:
        tell("Open this address within five minutes, and allow what it asks for:")
        tell(address)
        if browser:
            # In a thread of its own: a browser in the terminal would keep the answer from being heard.
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    path = sign_in(settings(), show)
    with closing(_target()) as target:
        account = target.status().account
    if json:
        print_json({"account": account, "credentials": str(path)})
    else:
        print_line(f"signed in as {account}; the credentials are in {path}")


@app.command()
def init(
    shared_drive: Annotated[
        str | None, typer.Option(metavar="ID", help="The shared drive to make it in; default: My Drive.")
    ] = None,
    json: Json = False,
) -> None:
    """Make the folder that LSE_DRIVE_FOLDER names, or find it, and print the line for .env."""
    with closing(_target()) as target:
        made = target.init(shared_drive and shared_drive.removeprefix("id:"))
    setting = f"id:{made['id']}"
    if json:
        print_json({"folder_id": made["id"], "link": made.get("alternateLink"), "LSE_DRIVE_FOLDER": setting})
        return
    tell(f"The folder {made['title']} is at {made.get('alternateLink')}; put this line into .env:")
    print_line(f"LSE_DRIVE_FOLDER={setting}")


@app.command()
def status(json: Json = False) -> None:
    """Say who signs in, what the folder and the storage are like, and what stands against an upload."""
    with closing(_target()) as target:
        found = target.status()
        archives = sum(1 for _ in target.list()) if found.folder_id else 0
    code = found.problem.exit_code if found.problem else 0
    if json:
        problem = error_document(found.problem)["error"] if found.problem else None
        print_json({"exit_code": code} | asdict(found) | {"archives": archives, "problem": problem})
        raise typer.Exit(code)
    for name, value in _lines(found, archives).items():
        print_line(f"{name:<10} {value}")
    if found.problem:
        raise found.problem


def _lines(found: "DriveStatus", archives: int) -> dict[str, Any]:
    kind = "on a shared drive" if found.shared_drive else "in My Drive"
    may = "writable" if found.writable else "not writable"
    place = (
        f"{kind}, {may}"
        if found.folder_id
        else "made at the first upload"
        if found.writable
        else "not usable"
    )
    return {
        "account": found.account,
        "scope": found.scope,
        "folder": f"{found.folder}, {place}",
        "link": found.link or "-",
        "archives": f"{archives:,}",
        "storage": f"{_gigabytes(found.used_bytes)} used of {_gigabytes(found.total_bytes)}",
    }


def _gigabytes(number: int | None) -> str:
    return "no limit" if number is None else f"{number / 1e9:,.1f} GB"


def _target() -> "DriveTarget":
    from lse.targets.drive import open as open_drive

    return open_drive("", settings())
