"""Configuration: flags, then environment, then `.env`, then defaults.

`LSE_*` variables are ours; LangSmith's own three keep their names. Secrets are `SecretStr`.
"""

import logging
import os
import stat
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from lse.errors import ConfigurationError, LseError, from_os_error

logger = logging.getLogger(__name__)

_OTHERS = frozenset(
    {
        "LSE_TEST_DATABASE_URL",
        "LSE_GENUINE_DATA",
        "LSE_POSTGRES_PORT",
        "LSE_DATABASE_URL_FILE",
        "LSE_DATABASE_READ_URL_FILE",
        "LSE_ALERT_WEBHOOK_FILE",
    }
)
"""What is no setting, but is read by tests, deployments and containers."""

_FOLDERS = ("data_dir", "archive_dir", "state_dir")

_WANTED = {
    "float_parsing": "a number",
    "finite_number": "a number",
    "int_parsing": "a whole number",
    "bool_parsing": "true or false",
    "literal_error": "{expected}",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
}
"""What a value must be, by the kind of pydantic's error and with the words of its context."""


class Settings(BaseSettings):
    """Every setting of `lse`; the descriptions below are the documentation of each variable."""

    model_config = SettingsConfigDict(
        env_prefix="LSE_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,
        frozen=True,
    )

    langsmith_api_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("LANGSMITH_API_KEY", "LANGCHAIN_API_KEY"),
        description="The key that reads your LangSmith workspace.",
    )
    langsmith_endpoint: str = Field(
        "https://api.smith.langchain.com",
        validation_alias=AliasChoices("LANGSMITH_ENDPOINT", "LANGCHAIN_ENDPOINT"),
        description="The LangSmith server: the default, another region, or a self-hosted one.",
    )
    langsmith_workspace_id: str | None = Field(
        None,
        validation_alias="LANGSMITH_WORKSPACE_ID",
        description="The workspace, for keys that belong to an organisation.",
    )
    langsmith_api: Literal["auto", "v1", "v2"] = Field(
        "auto",
        description="The read API: `v1` (`/runs/query`), `v2` (`/api/v2/runs/query`), or as the server says.",
    )
    langsmith_rate_limit: bool = Field(
        True,
        description="Keep to LangSmith's published request rates. Turn off only for a server without limits.",
    )
    fetch_hours: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        6, description="How long the fetch of one day may take; it goes on at its page when run again."
    )
    file_limit_mb: Annotated[int, Field(ge=0)] = Field(
        200, description="The largest attachment or payload file that is archived, in millions of bytes."
    )
    data_dir: Path = Field(Path("data"), description="Where trace files are kept.")
    archive_dir: Path = Field(Path("archives"), description="Where the zip of each project day is kept.")
    state_dir: Path = Field(
        Path(".lse"), description="Where the embedded database, unfinished fetches and uploads are kept."
    )
    database_url: SecretStr | None = Field(
        None,
        description="The runs store, `postgresql://user:password@host/name`. Unset: an embedded Postgres.",
    )
    database_read_url: SecretStr | None = Field(
        None,
        description="Where reports and searches read, such as a replica. Unset: the runs store itself.",
    )
    pg_bin: Path | None = Field(
        None, description="A folder with the programs of a Postgres 15 or newer, for the embedded database."
    )
    target: str | None = Field(
        None,
        description="Where zips are uploaded: `drive`, `directory:/path` or `s3:bucket/prefix`."
        " Unset: uploads are refused.",
    )
    s3_endpoint: str | None = Field(
        None, description="The S3-compatible server of an `s3:` target. Unset: Amazon's."
    )
    age_recipient: str | None = Field(
        None,
        description="Public age keys, separated by commas; what is uploaded is encrypted for them.",
    )
    age_identity: Path | None = Field(
        None, description="A file with the private age key, mode 0600; only needed to read uploaded archives."
    )
    drive_folder: str = Field(
        "lse", description="The Drive folder for archives: a name under My Drive, or `id:<folder id>`."
    )
    drive_credentials: Path | None = Field(
        None, description="A service-account key or saved OAuth credentials, a JSON file with mode 0600."
    )
    drive_client: Path | None = Field(
        None, description="The OAuth client file from Google, mode 0600, for `lse drive login`."
    )
    drive_user: str | None = Field(
        None, description="The user a service account acts for (domain-wide delegation)."
    )
    drive_scope: str = Field(
        "https://www.googleapis.com/auth/drive.file", description="The Drive permission to ask for."
    )
    drive_api_root: str = Field(
        "https://www.googleapis.com",
        description="The Drive server. Only a loopback address may stand in for Google's.",
    )
    recipes_dir: Path | None = Field(
        None, description="A folder with recipes of your own for evaluation datasets, `.py` or `.yaml`."
    )
    eval_endpoint: str | None = Field(
        None,
        validation_alias=AliasChoices("LSE_EVAL_ENDPOINT", "EVAL_API_ENDPOINT"),
        description="The evaluation service that `lse eval run` asks.",
    )
    eval_secret: SecretStr | None = Field(
        None, description="The secret shared with the evaluation service, which signs each request."
    )
    eval_username: str | None = Field(
        None,
        validation_alias=AliasChoices("LSE_EVAL_USERNAME", "EVAL_API_USERNAME"),
        description="The user for an evaluation service that asks for a password.",
    )
    eval_password: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("LSE_EVAL_PASSWORD", "EVAL_API_PASSWORD"),
        description="That user's password.",
    )
    alert_webhook: SecretStr | None = Field(
        None, description="Where alerts are posted as JSON with a `text`, which Slack takes as well."
    )
    settle_hours: Annotated[int, Field(ge=0, le=100_000)] = Field(
        72, description="How many hours after its end a day may still change and is swept again."
    )

    @field_validator(*_FOLDERS)
    @classmethod
    def _can_be_a_folder(cls, value: Path) -> Path:
        there = next(path for path in (value.absolute(), *value.absolute().parents) if os.path.lexists(path))
        if not there.is_dir():
            raise ValueError(f"{there} is no folder")
        return value

    @field_validator("langsmith_endpoint")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname:
            raise ValueError("it is no address such as https://api.smith.langchain.com")
        return value


def load_settings(**flags: Any) -> Settings:
    """The settings in force; `flags` that are not None win over everything else.

    Warns, once each, of names that are probably mistyped and of keys in a `.env` that others may read. Raises
    `ConfigurationError` naming each variable that does not fit, never its value.
    """
    filed = dotenv_values(".env")
    for name in {*os.environ, *filed}:
        _warn_if_mistyped(name)
    _warn_if_readable(frozenset(filed) & _secret_names())
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        problems = "; ".join(map(_problem, error.errors()))
        raise ConfigurationError(
            f"The configuration does not fit: {problems}.", hint="Put it right in the environment or in .env."
        ) from None


def warn_of_unknown() -> None:
    """Warn of each `LSE_*` variable that nothing reads, but for those of which `load_settings` warned."""
    for name in sorted({*os.environ, *dotenv_values(".env")}):
        if _is_unknown(name) and _similar(name) is None:
            logger.warning("%s is set, which is no setting.", name)


def _problem(error: ErrorDetails) -> str:
    """`LSE_FETCH_HOURS: it must be a number, such as 6`: what is wrong with a value, without the value."""
    field = str(error["loc"][0])
    if wanted := _WANTED.get(error["type"]):
        default = str(Settings.model_fields[field].default).lower()
        said = f"it must be {wanted.format(**error.get('ctx', {}))}, such as {default}"
    else:
        said = error["msg"].removeprefix("Value error, ")
    return f"{variable_name(field)}: {said}"


@cache
def _warn_if_mistyped(name: str) -> None:
    if _is_unknown(name) and (similar := _similar(name)):
        logger.warning("%s is set, which is no setting. Is it %s?", name, similar)


def _is_unknown(name: str) -> bool:
    return name.startswith("LSE_") and name not in _variables() and name not in _OTHERS


def _similar(name: str) -> str | None:
    """The variable that was probably meant."""
    from difflib import get_close_matches  # only needed for what should not happen

    return next(iter(get_close_matches(name, _variables(), n=1, cutoff=0.8)), None)


@cache
def _warn_if_readable(secrets: frozenset[str]) -> None:
    """As files with credentials are refused when others may read them."""
    if secrets and stat.S_IMODE(Path(".env").stat().st_mode) & 0o077:
        logger.warning("Others may read .env, which holds %s: chmod 600 .env", ", ".join(sorted(secrets)))


@cache
def _variables() -> frozenset[str]:
    """The names of all variables that are read."""
    return frozenset(name for field in Settings.model_fields for name in _names(field))


@cache
def _secret_names() -> frozenset[str]:
    fields = Settings.model_fields.items()
    secret = [field for field, info in fields if SecretStr in get_args(info.annotation)]
    return frozenset(name for field in secret for name in _names(field))


def _names(field: str) -> list[str]:
    """The variables that set `field`, the first before the others."""
    alias = Settings.model_fields[field].validation_alias
    return (
        [str(choice) for choice in alias.choices]
        if isinstance(alias, AliasChoices)
        else [variable_name(field)]
    )


def as_error(failure: LseError | OSError, settings: Settings) -> LseError:
    """`failure` as one of ours. Where a folder of `settings` may not be used, the hint names its variable."""
    if isinstance(failure, LseError):
        return failure
    error = from_os_error(failure)
    folders = _folders_of(failure.filename, settings)
    if folders and isinstance(error, ConfigurationError):
        error.hint = f"Check its permissions, or set another folder: {' or '.join(folders)}."
    return error


def _folders_of(place: Any, settings: Settings) -> list[str]:
    """The variables whose folder holds `place`, or is to be made in it."""
    if not isinstance(place, str | bytes):
        return []
    path = Path(os.fsdecode(place)).absolute()
    folders = {name: getattr(settings, name).absolute() for name in _FOLDERS}
    return [
        variable_name(name)
        for name, folder in folders.items()
        if path.is_relative_to(folder) or folder.is_relative_to(path)
    ]


def variable_name(field: str) -> str:
    """The environment variable that sets `field`."""
    if field not in Settings.model_fields:
        return field
    alias = Settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return str(alias) if alias else f"LSE_{field.upper()}"


@dataclass(frozen=True, slots=True)
class Described:
    """One setting as `lse config` shows it."""

    variable: str
    value: str | None
    origin: str


def describe(settings: Settings) -> list[Described]:
    """Every setting with its value, secrets masked, and the place it comes from."""
    return [_describe(name, settings) for name in Settings.model_fields]


def _describe(name: str, settings: Settings) -> Described:
    value = getattr(settings, name)
    shown = None if value is None else _masked(value) if isinstance(value, SecretStr) else str(value)
    return Described(variable_name(name), shown, _origin(name, settings))


def _masked(secret: SecretStr) -> str:
    """A database address without its password; of any other secret only that it is set."""
    try:
        url = urlsplit(secret.get_secret_value())
    except ValueError:
        return "********"
    if not url.hostname or "@" in url.path:  # a slash in the password would end the host before it
        return "********"
    return f"{url.scheme}://{url.username or ''}{':***' if url.password else ''}@{url.hostname}{url.path}"


def _origin(name: str, settings: Settings) -> str:
    """Where the value comes from, by the order of precedence."""
    if name not in settings.model_fields_set:
        return "default"
    names = _names(name)
    for variable in names:
        if os.environ.get(variable):
            return f"environment {variable}"
    filed = dotenv_values(".env")
    return ".env" if any(filed.get(variable) for variable in names) else "command line"
