"""`lse db`: the database and its schema."""

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Annotated

import typer

from lse.cli.options import Json, resources, settings
from lse.cli.output import print_data, print_json, print_line
from lse.cli.selection import Selection, takes_selection
from lse.errors import ConfigurationError, DifferencesFound

if TYPE_CHECKING:
    from lse.store.embedded import EmbeddedPostgres

app = typer.Typer(no_args_is_help=True)


@app.command()
def start() -> None:
    """Start the embedded Postgres and leave it running."""
    print_line(f"running at {_embedded().start()}")


@app.command()
def stop() -> None:
    """Stop the embedded Postgres."""
    _embedded().stop()
    print_line("stopped")


@app.command()
def status(json: Json = False) -> None:
    """Say which database is used, whether it answers, and at which revision its schema is."""
    from lse.store.migrate import current, head

    url = settings().database_url
    facts: dict[str, str | None] = {"database": "LSE_DATABASE_URL"}
    if url is not None:
        facts["revision"] = current(url.get_secret_value())
    else:
        embedded = _embedded()
        server = embedded.status()
        state = "running" if server.running else "stopped" if server.folder.exists() else "not made yet"
        stays = "stays" if server.stays else "started as needed"
        facts = {"database": "embedded", "server": f"{state}, {stays}", "folder": str(server.folder)}
        if server.folder.exists():
            with embedded.running() as address:
                facts["revision"] = current(address)
    facts["latest revision"] = head()
    if json:
        print_json({name.replace(" ", "_"): value for name, value in facts.items()})
        return
    for name, value in facts.items():
        print_line(f"{name:<16} {value or '-'}")


@app.command()
def current() -> None:
    """Print the revision of the schema, or `none` before the first `lse db upgrade`."""
    from lse.store import migrate

    url = settings().database_url
    if url is not None:
        print_line(migrate.current(url.get_secret_value()) or "none")
        return
    with _embedded().running() as address:
        print_line(migrate.current(address) or "none")


@app.command()
def check(json: Json = False) -> None:
    """Compare the live tables with those that this `lse` declares. Exit code 3 on differences."""
    from lse.store import migrate

    with resources() as opened:
        found = migrate.differences(opened.database_url)
    if json:
        print_json({"revision": migrate.head(), "differences": found})
    for difference in [] if json else found:
        print_line(difference)
    if found:
        raise typer.Exit(DifferencesFound.exit_code)
    if not json:
        print_line(f"as declared, at revision {migrate.head()}")


@app.command()
def upgrade() -> None:
    """Bring the schema to the latest revision."""
    from lse.store import migrate

    with resources() as opened:
        migrate.upgrade(opened.database_url)
    print_line(f"at revision {migrate.head()}, the latest")


@app.command()
def downgrade(
    revision: Annotated[str, typer.Argument(help="The revision to go back to, or `base` for none.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take the schema back; what later revisions added is dropped. The archive is not touched."""
    from lse.store import migrate

    if settings().database_url is None:
        raise ConfigurationError(
            "The embedded database is brought up to date by every command, so it cannot stay downgraded.",
            hint="Install the earlier lse, remove LSE_STATE_DIR/postgres, and load again from the archive.",
        )
    if not yes:
        typer.confirm(f"Take the schema back to {revision} and drop what came later?", abort=True, err=True)
    with resources() as opened:
        migrate.downgrade(opened.database_url, revision)
    print_line(f"at revision {revision}")


@app.command()
def roles(
    runtime: Annotated[str, typer.Option(help="Loads and reports; changes no table.")] = "lse_runtime",
    readonly: Annotated[str, typer.Option(help="Reads, for reports and dashboards.")] = "lse_readonly",
    apply: Annotated[
        bool, typer.Option("--apply", help="Run the statements instead of printing them.")
    ] = False,
) -> None:
    """Print the SQL that makes two roles with fewer rights than the owner of the tables, or run it.

    Repeat it at any time; it covers the tables of later revisions too. Passwords are yours to set, in psql
    by `\\password`.
    """
    from lse.store.roles import apply_roles, role_statements

    with resources() as opened:
        opened.store.check()
        if apply:
            apply_roles(opened.database_url, runtime, readonly)
            print_line(f"{runtime} may load and report, {readonly} may read")
            return
        for statement in role_statements(opened.database_url, runtime, readonly):
            print_data(f"{statement};\n")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context) -> None:
    """Open psql on the store; further arguments go to psql."""
    with resources() as opened:
        # The address goes by the environment: arguments are visible to every user of the machine.
        environment = os.environ | _psql_variables(opened.database_url)
        done = subprocess.run([_psql_program(), *context.args], env=environment, check=False)  # noqa: S603
    raise typer.Exit(done.returncode)


@app.command()
@takes_selection
def quarantine(selection: Selection, json: Json = False) -> None:
    """List the runs kept raw because they could not be loaded, with the reason of each."""
    from lse.pipeline import require_archived

    with resources() as opened:
        chosen = selection.of(opened.store.projects)
        require_archived(opened, {day.project for day in chosen})
        found = [(day, item) for day in chosen for item in opened.store.quarantined(day)]
    if json:
        names = ("run_id", "trace_id", "reason", "quarantined_at")
        print_json(
            [{"date": day.day, **{name: getattr(item, name) for name in names}} for day, item in found]
        )
        return
    for day, item in found:
        print_line(
            f"{day}  run {item.run_id or '(no id)'} of trace {item.trace_id or '(none)'}: {item.reason}"
        )
    if not found:
        print_line("nothing is in quarantine")


def _embedded() -> "EmbeddedPostgres":
    from lse.resources import embedded_postgres

    configured = settings()
    if configured.database_url is not None:
        raise ConfigurationError(
            "LSE_DATABASE_URL is set, so lse runs no Postgres of its own.",
            hint="Start and stop that server with its own tools, or unset the variable.",
        )
    return embedded_postgres(configured)


def _psql_program() -> str:
    """The psql on the path, else the one beside the embedded server's programs."""
    from lse.store.embedded import find_binaries

    program = shutil.which("psql") or shutil.which("psql", path=str(find_binaries(settings())))
    if program is None:
        raise ConfigurationError("There is no psql.", hint="Install the PostgreSQL client programs.")
    return program


def _psql_variables(url: str) -> dict[str, str]:
    from psycopg.conninfo import conninfo_to_dict

    names = {
        "host": "PGHOST",
        "port": "PGPORT",
        "user": "PGUSER",
        "password": "PGPASSWORD",
        "dbname": "PGDATABASE",
    }
    parts = conninfo_to_dict(url)
    return {variable: str(parts[name]) for name, variable in names.items() if parts.get(name)}
