"""`lse config` and `lse doctor`: what is set, and whether it works."""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal
from urllib.request import urlopen

import typer

from lse.cli.options import Json, resources, settings
from lse.cli.output import print_json, print_line
from lse.errors import LseError

if TYPE_CHECKING:
    from lse.resources import Resources


def config(json: Json = False) -> None:
    """Show each setting, its value, and where it comes from. Secrets are masked."""
    from lse.settings import describe, warn_of_unknown
    from lse.targets import require_kind

    current = settings()
    warn_of_unknown()
    if current.target is not None:
        require_kind(current.target)
    described = describe(current)
    if json:
        print_json({row.variable: {"value": row.value, "from": row.origin} for row in described})
        return
    for row in described:
        print_line(f"{row.variable:<24} {row.value or '-':<44} {row.origin}")


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor: a verdict, what was found, and what to do about it."""

    name: str
    verdict: Literal["ok", "warn", "fail"]
    text: str
    hint: str = ""
    exit_code: int = 0


def doctor(json: Json = False) -> None:
    """Try LangSmith and the key, the target, the database and Prefect, one line each."""
    from lse.settings import warn_of_unknown

    checks = []
    with resources() as opened:
        warn_of_unknown()
        for check in _checks(opened):
            checks.append(check)
            if not json:
                _print(check)
    code = next((check.exit_code for check in checks if check.verdict == "fail"), 0)
    if json:
        print_json({"exit_code": code, "checks": list(map(asdict, checks))})
    raise typer.Exit(code)


def _checks(opened: "Resources") -> Iterator[Check]:
    looks: dict[str, Callable[[Resources], Check]] = {
        "langsmith": _langsmith,
        "target": _target,
        "database": _database,
        "prefect": _prefect,
    }
    for name, look in looks.items():
        try:
            yield look(opened)
        except LseError as error:
            yield Check(name, "fail", error.message, error.hint, error.exit_code)


def _print(check: Check) -> None:
    print_line(f"{check.verdict:<5} {check.name:<10} {check.text}")
    if check.hint:
        print_line(f"{'':<16} → {check.hint}")


def _langsmith(opened: "Resources") -> Check:
    text = opened.source.check()
    if "through v1" not in text:
        return Check("langsmith", "ok", text)
    hint = "LangSmith removes v1 after 31 January 2027; with LSE_LANGSMITH_API=auto lse follows the server."
    return Check("langsmith", "ok", text, hint)


def _target(opened: "Resources") -> Check:
    if opened.settings.target is None:
        return Check(
            "target",
            "warn",
            "no target is set, so nothing can be uploaded",
            "Set LSE_TARGET to `drive`, `s3:bucket` or `directory:/path`, or sweep with --skip-upload.",
        )
    return Check("target", "ok", opened.target.check())


def _database(opened: "Resources") -> Check:
    kind = (
        "the embedded Postgres"
        if opened.settings.database_url is None
        else "the database of LSE_DATABASE_URL"
    )
    version = opened.store.query("select current_setting('server_version') as version", {})[0]["version"]
    return Check("database", "ok", f"{kind} (version {version}), schema up to date")


def _prefect(opened: "Resources") -> Check:  # noqa: ARG001 - the form of a check
    installed = f"Prefect {version('prefect')}"
    url = os.environ.get("PREFECT_API_URL")
    if url is None:
        return Check("prefect", "ok", f"{installed}; no PREFECT_API_URL, so commands run the plain steps")
    try:
        with urlopen(f"{url.rstrip('/')}/health", timeout=5) as answer:  # noqa: S310 - the user's own setting
            answer.read()
    except (OSError, ValueError) as error:
        hint = "Start it with `prefect server start`, or unset PREFECT_API_URL."
        return Check("prefect", "fail", f"{url} does not answer ({type(error).__name__})", hint, 6)
    return Check("prefect", "ok", f"{installed}, server at {url}")
