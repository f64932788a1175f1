"""`lse sandbox`: a LangSmith and a Google Drive on this machine, for trying out."""

import json
import shlex
import signal
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

import typer

from lse.cli.options import settings
from lse.cli.output import print_line, tell
from lse.errors import ConfigurationError, TemporaryError, UsageError
from lse.models.day import parse_day

if TYPE_CHECKING:
    from collections.abc import Callable

    from lse.sandbox import Sandbox
    from lse.sandbox.sample import SampleSummary

app = typer.Typer(no_args_is_help=True)

_KEY = "sandbox-key"

Endpoint = Annotated[
    str | None, typer.Option(help="The sandbox's LangSmith address; default: LANGSMITH_ENDPOINT.")
]


@app.command()
def serve(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the LangSmith server; 0 takes a free one.")
    ] = 1984,
    drive_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the Drive server; 0 takes a free one.")
    ] = 1985,
    api_key: Annotated[str, typer.Option(help="The key that the LangSmith server accepts.")] = _KEY,
    rate_limits: Annotated[
        bool, typer.Option(help="Refuse calls above LangSmith's published rates.")
    ] = False,
    keep: Annotated[Path, typer.Option(help="Where the Drive key and the OAuth client are written.")] = Path(
        ".lse/sandbox"
    ),
) -> None:
    """Serve both until interrupted. What they hold is gone when they stop."""
    from lse.sandbox import Sandbox

    with Sandbox(
        api_key=api_key, rate_limits=rate_limits, langsmith_port=port, drive_port=drive_port
    ) as sandbox:
        for line in _environment(sandbox, api_key, keep):
            print_line(line)
        tell("Serving. Paste these lines into another terminal; Ctrl-C stops.")
        stopped = Event()
        signal.signal(signal.SIGTERM, lambda *_: stopped.set())
        stopped.wait()


@app.command()
def load(
    file: Annotated[
        Path, typer.Argument(help="Raw LangSmith runs, one JSON object a line.", exists=True, dir_okay=False)
    ],
    project: Annotated[str, typer.Option("--project", "-p", help="The project to put them into.")],
    endpoint: Endpoint = None,
) -> None:
    """Put runs from a file into a running sandbox, exactly as they are."""
    answer = _post(f"{_address(endpoint)}/_sandbox/load?project={quote(project, safe='')}", file.read_bytes())
    print_line(f"{project}: {json.dumps(json.loads(answer))}")


@app.command()
def sample(
    endpoint: Endpoint = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same ids and times.")] = 7,
    end: Annotated[str | None, typer.Option(help="The last day, YYYY-MM-DD; default: yesterday.")] = None,
    days: Annotated[int, typer.Option(min=1, help="How many days.")] = 3,
    traces: Annotated[int, typer.Option(min=1, help="Traces per project and day.")] = 12,
) -> None:
    """Let a small research agent write traces into a running sandbox through the real LangSmith SDK."""
    from lse.pipeline.common import counted

    write_sample = sample_writer()
    address = _address(endpoint)
    _post(f"{address}/_sandbox/faults", b"[]", method="GET")  # is it there, and a sandbox?
    last: date = parse_day(end) if end else datetime.now(UTC).date() - timedelta(days=1)
    key = settings().langsmith_api_key
    written = write_sample(
        address,
        key.get_secret_value() if key else _KEY,
        seed=seed,
        end=last,
        days=days,
        traces_per_day=traces,
    )
    for day in written.days:
        print_line(
            f"{day.project}/{day.day}: {counted(day.runs, 'run')} in {counted(day.traces, 'trace')},"
            f" {counted(day.feedback, 'feedback record')}"
        )


def sample_writer() -> "Callable[..., SampleSummary]":
    """The sample application. Raises `ConfigurationError` when the packages it needs are not installed."""
    try:
        from lse.sandbox.sample import write_sample
    except ImportError as error:
        raise ConfigurationError(
            f"The sample application needs the package {error.name}.",
            hint="pip install 'lse[sandbox,embedded]', or in a checkout: pip install '.[sandbox,embedded]'.",
        ) from None
    return write_sample


def _environment(sandbox: "Sandbox", api_key: str, folder: Path) -> list[str]:
    """The settings that make `lse` use the sandbox, as shell lines; the files they name are in `folder`."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    drive = sandbox.drive
    values = {
        "LANGSMITH_ENDPOINT": sandbox.langsmith.url,
        "LANGSMITH_API_KEY": api_key,
        "LSE_TARGET": "drive",
        "LSE_DRIVE_API_ROOT": drive.url,
        "LSE_DRIVE_CREDENTIALS": drive.write_credentials(folder / "drive-key.json").absolute(),
        "LSE_DRIVE_CLIENT": drive.write_oauth_client(folder / "drive-client.json").absolute(),
    }
    return [f"export {name}={shlex.quote(str(value))}" for name, value in values.items()]


def _address(endpoint: str | None) -> str:
    address = (endpoint or settings().langsmith_endpoint).rstrip("/")
    if urlsplit(address).hostname not in ("127.0.0.1", "localhost", "::1"):
        raise UsageError(
            f"{address} is no sandbox: a sandbox runs on this machine.",
            hint="Start one with `lse sandbox serve` and set LANGSMITH_ENDPOINT to its address.",
        )
    return address


def _post(url: str, body: bytes, method: str = "POST") -> bytes:
    request = Request(url, data=body if method == "POST" else None, method=method)  # noqa: S310 - a loopback address, checked
    try:
        with urlopen(request, timeout=120) as answer:  # noqa: S310
            content: bytes = answer.read()
            return content
    except HTTPError as error:
        raise UsageError(f"The sandbox refused it: {_reason(error)}") from None
    except URLError as error:
        raise TemporaryError(
            f"The sandbox does not answer ({type(error.reason).__name__}).",
            hint="Start it: lse sandbox serve",
        ) from None


def _reason(error: HTTPError) -> str:
    """What the sandbox says is wrong."""
    try:
        return str(json.loads(error.read())["detail"])
    except (ValueError, KeyError, TypeError):
        return f"status {error.code}"
