"""Configuration: precedence, masking, and errors that never show a value."""

import errno
from pathlib import Path
from typing import Any

import pytest

from lse.errors import ConfigurationError
from lse.settings import (
    Described,
    Settings,
    _warn_if_mistyped,
    _warn_if_readable,
    as_error,
    describe,
    load_settings,
    variable_name,
    warn_of_unknown,
)

SECRET = "lsv2_pt_0123456789abcdef"


def shown(variable: str, **flags: Any) -> Described:
    return next(line for line in describe(load_settings(**flags)) if line.variable == variable)


def test_the_defaults_spelled_out() -> None:
    settings = load_settings()
    assert settings.model_dump() == {
        "langsmith_api_key": None,
        "langsmith_endpoint": "https://api.smith.langchain.com",
        "langsmith_workspace_id": None,
        "langsmith_api": "auto",
        "langsmith_rate_limit": True,
        "fetch_hours": 6.0,
        "file_limit_mb": 200,
        "data_dir": Path("data"),
        "archive_dir": Path("archives"),
        "state_dir": Path(".lse"),
        "database_url": None,
        "database_read_url": None,
        "pg_bin": None,
        "target": None,
        "s3_endpoint": None,
        "age_recipient": None,
        "age_identity": None,
        "drive_folder": "lse",
        "drive_credentials": None,
        "drive_client": None,
        "drive_user": None,
        "drive_scope": "https://www.googleapis.com/auth/drive.file",
        "drive_api_root": "https://www.googleapis.com",
        "recipes_dir": None,
        "eval_endpoint": None,
        "eval_secret": None,
        "eval_username": None,
        "eval_password": None,
        "alert_webhook": None,
        "settle_hours": 72,
    }
    assert {line.origin for line in describe(settings)} == {"default"}


def test_flags_win_over_the_environment_which_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("LSE_DATA_DIR=file\nLSE_STATE_DIR=file\nLSE_ARCHIVE_DIR=file\nOTHER=x\n")
    monkeypatch.setenv("LSE_DATA_DIR", "environment")
    monkeypatch.setenv("LSE_STATE_DIR", "environment")
    settings = load_settings(data_dir=Path("flag"), archive_dir=None)
    assert (settings.data_dir, settings.state_dir, settings.archive_dir) == (
        Path("flag"),
        Path("environment"),
        Path("file"),
    )


def test_a_flag_wins_over_langsmiths_own_variables_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGSMITH_ENDPOINT", "https://environment.example.org")
    monkeypatch.setenv("LANGSMITH_API_KEY", "environment")
    settings = load_settings(langsmith_endpoint="https://flag.example.org", langsmith_api_key=SECRET)
    assert settings.langsmith_endpoint == "https://flag.example.org"
    assert settings.langsmith_api_key is not None
    assert settings.langsmith_api_key.get_secret_value() == SECRET


def test_langsmiths_variables_win_over_their_older_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGCHAIN_ENDPOINT", "https://old.example.org")
    assert load_settings().langsmith_endpoint == "https://old.example.org"
    monkeypatch.setenv("LANGSMITH_ENDPOINT", "https://new.example.org")
    assert load_settings().langsmith_endpoint == "https://new.example.org"


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSE_TARGET", "")
    monkeypatch.setenv("LANGSMITH_API_KEY", "")
    assert (load_settings().target, load_settings().langsmith_api_key) == (None, None)


def test_each_value_says_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("LSE_TARGET=drive\n")
    monkeypatch.setenv("LANGCHAIN_API_KEY", SECRET)
    assert shown("LSE_TARGET") == Described("LSE_TARGET", "drive", ".env")
    assert shown("LANGSMITH_API_KEY") == Described(
        "LANGSMITH_API_KEY", "********", "environment LANGCHAIN_API_KEY"
    )
    assert shown("LSE_DATA_DIR", data_dir="x") == Described("LSE_DATA_DIR", "x", "command line")
    assert shown("LSE_SETTLE_HOURS") == Described("LSE_SETTLE_HOURS", "72", "default")


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("postgresql://me:PASSWORD@db.example.org/lse", "postgresql://me:***@db.example.org/lse"),
        ("postgresql://me@db.example.org/lse", "postgresql://me@db.example.org/lse"),
        (
            "postgresql://me:PASSWORD@db.example.org:5433/lse?sslmode=require",
            "postgresql://me:***@db.example.org/lse",
        ),
        ("postgresql://db.example.org/lse?password=PASSWORD", "postgresql://@db.example.org/lse"),
        ("postgresql:///lse?host=/tmp&password=PASSWORD", "********"),
        ("host=db password=PASSWORD", "********"),
        ("postgresql://me:x/PASSWORD@db.example.org/lse", "********"),
        ("postgresql://me:PASS@WORD@db.example.org/lse", "postgresql://me:***@db.example.org/lse"),
        ("postgresql://[PASSWORD", "********"),
        ("PASSWORD", "********"),
    ],
)
def test_no_part_of_a_password_is_ever_shown(url: str, masked: str) -> None:
    assert shown("LSE_DATABASE_URL", database_url=url).value == masked
    assert "PASS" not in repr(load_settings(database_url=url))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LSE_LANGSMITH_API", "SECRET-VALUE"),
        ("LSE_SETTLE_HOURS", "SECRET-VALUE"),
        ("LSE_SETTLE_HOURS", "-1"),
        ("LSE_LANGSMITH_RATE_LIMIT", "SECRET-VALUE"),
    ],
)
def test_an_error_names_the_variable_and_never_the_value(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert variable in caught.value.message
    assert value not in caught.value.message + caught.value.hint
    assert caught.value.__cause__ is None
    assert caught.value.exit_code == 7


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("LSE_FETCH_HOURS", "abc", "a number, such as 6"),
        ("LSE_FETCH_HOURS", "inf", "a number, such as 6"),
        ("LSE_FETCH_HOURS", "0", "more than 0.0, such as 6"),
        ("LSE_SETTLE_HOURS", "1.5", "a whole number, such as 72"),
        ("LSE_SETTLE_HOURS", "9999999", "100000 or less, such as 72"),
        ("LSE_FILE_LIMIT_MB", "-1", "0 or more, such as 200"),
        ("LSE_LANGSMITH_API", "v3", "'auto', 'v1' or 'v2', such as auto"),
        ("LSE_LANGSMITH_RATE_LIMIT", "maybe", "true or false, such as true"),
    ],
)
def test_an_error_says_what_the_value_must_be_with_an_example(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert caught.value.message == f"The configuration does not fit: {variable}: it must be {said}."


def test_every_wrong_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSE_LANGSMITH_API", "x")
    monkeypatch.setenv("LSE_SETTLE_HOURS", "x")
    with pytest.raises(ConfigurationError, match=r"LSE_LANGSMITH_API: .*LSE_SETTLE_HOURS: "):
        load_settings()


def test_every_setting_has_a_variable_and_a_description() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert variable_name(name).startswith(("LSE_", "LANGSMITH_"))


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().target = "drive"  # type: ignore[misc]


@pytest.mark.parametrize("variable", ["LSE_DATA_DIR", "LSE_ARCHIVE_DIR", "LSE_STATE_DIR"])
def test_a_folder_that_can_be_none_is_named_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to("gone")
    for place, fault in {"file": "file", "file/below": "file", "nowhere/below": "nowhere"}.items():
        monkeypatch.setenv(variable, place)
        with pytest.raises(ConfigurationError) as refused:
            load_settings()
        assert refused.value.message == (
            f"The configuration does not fit: {variable}: {tmp_path / fault} is no folder."
        )


def test_a_folder_that_is_refused_is_named_with_its_variable(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "data", archive_dir=tmp_path / "zips/here")

    def hint(place: Path) -> str:
        return as_error(PermissionError(errno.EACCES, "Permission denied", str(place)), settings).hint

    assert [hint(tmp_path / place) for place in ("data/chat/x.json", "zips", "elsewhere")] == [
        "Check its permissions, or set another folder: LSE_DATA_DIR.",
        "Check its permissions, or set another folder: LSE_ARCHIVE_DIR.",
        "Check the permissions, or set another place: `lse config`.",
    ]


def test_a_name_like_that_of_a_setting_is_warned_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    forget_warnings()
    Path(".env").write_text("LSE_DATABSE_URL=postgresql://a\nLSE_POSTGRES_PORT=1\nPATHS=x\n")
    for name in (
        "LSE_TARGT",
        "LSE_TEST_DATABASE_URL",
        "LSE_GENUINE_DATA",
        "LSE_DATABASE_URL_FILE",
    ):
        monkeypatch.setenv(name, "x")
    load_settings()
    load_settings()
    assert sorted(record.message for record in caplog.records) == [
        "LSE_DATABSE_URL is set, which is no setting. Is it LSE_DATABASE_URL?",
        "LSE_TARGT is set, which is no setting. Is it LSE_TARGET?",
    ]


def test_a_variable_that_nothing_reads_is_named_where_settings_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    forget_warnings()
    Path(".env").write_text("LSE_FOO=SECRET-VALUE\nLSE_POSTGRES_PORT=x\n")
    for name in ("LSE_BAR", "LSE_FOO", "LSE_TARGT", "LSE_TARGET"):
        monkeypatch.setenv(name, "SECRET-VALUE")
    load_settings()
    warn_of_unknown()
    assert [record.message for record in caplog.records] == [
        "LSE_TARGT is set, which is no setting. Is it LSE_TARGET?",
        "LSE_BAR is set, which is no setting.",
        "LSE_FOO is set, which is no setting.",
    ]


def test_a_file_with_keys_that_others_may_read_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    forget_warnings()
    file = Path(".env")
    file.write_text(f"LANGCHAIN_API_KEY={SECRET}\nLSE_DATA_DIR=data\n")
    file.chmod(0o600)
    load_settings()
    assert caplog.records == []
    file.chmod(0o640)
    forget_warnings()
    load_settings()
    assert [record.message for record in caplog.records] == [
        "Others may read .env, which holds LANGCHAIN_API_KEY: chmod 600 .env"
    ]
    caplog.clear()
    forget_warnings()
    file.write_text("LSE_DATA_DIR=data\n")
    load_settings()
    assert caplog.records == []


def forget_warnings() -> None:
    _warn_if_mistyped.cache_clear()
    _warn_if_readable.cache_clear()
