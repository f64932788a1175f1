"""What a command imports decides how long people wait for `--help`."""

import subprocess
import sys

import pytest
from commands import Lse

SLOW = ("prefect", "langsmith", "sqlmodel", "sqlalchemy", "pydrive2", "alembic", "pydantic", "requests")


@pytest.mark.parametrize("module", SLOW)
def test_help_does_not_import_slow_packages(module: str) -> None:
    code = f"import lse.cli.app, sys; sys.exit({module!r} in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_reports_do_not_import_prefect() -> None:
    code = "import lse.pipeline, lse.resources, sys; sys.exit('prefect' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_version_and_help_answer_without_any_setting(lse: Lse) -> None:
    bare = Lse(lse.folder, {})

    assert bare("--version").out == "lse 0.1.0\n"
    for group in ((), ("archive",), ("report",), ("db",), ("sandbox",)):
        assert bare(*group, "--help").code == 0


def test_config_masks_secrets_and_says_where_values_come_from(lse: Lse) -> None:
    (lse.folder / ".env").write_text("LSE_SETTLE_HOURS=24\n")

    answer = lse(
        "--data-dir", "there", "config", "--json", LSE_DATABASE_URL="postgresql://ada:secret-word@db/lse"
    )

    assert answer.code == 0
    assert "secret-word" not in answer.out
    assert "sandbox-key" not in answer.out
    assert answer.json["LSE_DATABASE_URL"] == {
        "value": "postgresql://ada:***@db/lse",
        "from": "environment LSE_DATABASE_URL",
    }
    assert answer.json["LSE_DATA_DIR"] == {"value": "there", "from": "command line"}
    assert answer.json["LSE_SETTLE_HOURS"] == {"value": "24", "from": ".env"}
    assert answer.json["LSE_ARCHIVE_DIR"] == {"value": "archives", "from": "default"}


def test_the_doctor_tries_everything_and_names_what_is_wrong(lse: Lse) -> None:
    well = lse("doctor", "--json")
    ill = lse("doctor", "--json", LANGSMITH_API_KEY="wrong", LSE_TARGET=None)

    assert well.code == 0
    assert {check["name"]: check["verdict"] for check in well.json["checks"]} == {
        "langsmith": "ok",
        "target": "ok",
        "database": "ok",
        "prefect": "ok",
    }
    assert ill.code == 5
    assert {check["name"]: check["verdict"] for check in ill.json["checks"]} == {
        "langsmith": "fail",
        "target": "warn",
        "database": "ok",
        "prefect": "ok",
    }
