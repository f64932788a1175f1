"""A mistyped project is refused by every command that looks at what is archived."""

import logging
from datetime import UTC, date, datetime

import pytest

from lse.cli.app import app
from lse.errors import UsageError
from lse.models import ProjectDay
from lse.store import Store

COMMANDS = (
    "status -p caht",
    "events -p caht",
    "errors -p caht",
    "archive list -p caht",
    "archive log -p caht --last 2d",
    "archive verify -p caht --sample 1/7",
    "archive prune -p caht --keep-days 30",
    "db quarantine -p caht --last 2d",
    "db rebuild -p caht",
    "runs list -p caht -d 2025-09-13",
    "runs search word -p caht --last 2d",
    "report errors -p caht -d 2025-09-13",
    "report errors -p caht -d 2025-09-13 --source files",
    "eval create-dataset -p caht --recipe website --last 2d",
)


@pytest.fixture(autouse=True)
def logging_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command sets up how this process logs; the next test finds it as it was."""
    logger = logging.getLogger("lse")
    for name in ("handlers", "level", "propagate"):
        monkeypatch.setattr(logger, name, getattr(logger, name))


def test_it_is_refused_with_the_names_that_are_like_it(
    monkeypatch: pytest.MonkeyPatch, database_url: str, store: Store
) -> None:
    monkeypatch.setenv("LSE_DATABASE_URL", database_url)
    store.record(ProjectDay("chat", date(2025, 9, 13)), loaded_at=datetime.now(UTC))

    for command in COMMANDS:
        with pytest.raises(UsageError) as refused:
            app(command.split(), standalone_mode=False)

        assert refused.value.message == "Nothing of a project called 'caht' is archived.", command
        assert refused.value.hint == (
            "Is it chat? Archive it first: lse archive full-sweep --project caht --last 7d"
        )
