"""What the command line prints, and where."""

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lse.errors import LseError
from lse.formats import Document, one_line, visible
from lse.models.results import Progress, StepResult


def wants_json() -> bool:
    """Whether this command was asked for JSON, known even when its arguments cannot be parsed."""
    return "--json" in sys.argv


def write_output(path: Path, content: bytes) -> None:
    """Write where the user said; see `output_file`."""
    from lse.archive.files import output_file

    with output_file(path) as file:
        file.write(content)


def print_data(data: Document) -> None:
    """Write `data` to stdout as it is: bytes, without markup or wrapping."""
    if sys.stdout is None:
        return  # closed by `>&-`, which asks for what /dev/null does
    sys.stdout.buffer.write(data if isinstance(data, bytes) else data.encode("utf-8", "backslashreplace"))
    sys.stdout.buffer.flush()


def print_json(value: Any) -> None:
    """Write one JSON document to stdout."""
    print_data(json.dumps(value, indent=2, default=str) + "\n")


def print_line(text: str) -> None:
    """Write a line for people to stdout."""
    print_data(one_line(text) + "\n")


def tell(text: str) -> None:
    """Write a line for people to stderr."""
    sys.stderr.write(one_line(text) + "\n")
    sys.stderr.flush()


def print_error(error: LseError) -> None:
    """Say what happened and what to do next: on stderr, and as the JSON document when one was asked for."""
    if not error.message:
        return  # the help that stands above says it all
    tell(f"lse: {error.message}")
    if error.hint:
        tell(f"     {error.hint}")
    if wants_json():
        print_json(error_document(error))


def error_document(error: LseError) -> dict[str, Any]:
    """An error as JSON."""
    return {
        "error": {
            "kind": type(error).__name__,
            "message": error.message,
            "hint": error.hint,
            "exit_code": error.exit_code,
        }
    }


def failed(step: str, error: LseError) -> StepResult:
    """An error as the result of one day among several."""
    return StepResult(step, "failed", error.message, hint=error.hint, exit_code=error.exit_code)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write aligned columns for people to stdout: the first to the left, the others to the right."""
    lines = [columns, *rows]
    widths = [max(len(visible(line[n])) for line in lines) for n in range(len(columns))]
    for first, *others in lines:
        cells = [f"{visible(first):<{widths[0]}}"]
        cells += [f"{visible(cell):>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        print_line("  ".join(cells).rstrip())


def print_result(item: str, result: StepResult) -> None:
    """One line for a step of `item`, and a line for each detail that needs a look."""
    say = tell if result.state in ("failed", "not run") else print_line
    say(f"{item}  {result.step:<7} {result.state:<11} {result.summary}")
    for detail in result.details[:20]:
        print_line(f"    {detail}")
    if len(result.details) > 20:
        print_line(f"    … and {len(result.details) - 20} more; --json lists them all")
    if result.hint:
        tell(f"    {result.hint}")


def result_document(result: StepResult) -> Mapping[str, Any]:
    """A step's result as JSON."""
    return {
        "step": result.step,
        "state": result.state,
        "summary": result.summary,
        "figures": dict(result.figures),
        "details": list(result.details),
        "hint": result.hint,
        "exit_code": result.exit_code,
    }


@contextmanager
def progress_bar(
    label: str, *, after: float = 1.0, waited: Callable[[], float] = float
) -> Iterator[Progress]:
    """A bar on stderr for work that takes longer than `after` seconds; silent when not a terminal.

    It shows what is done of the total, the rate, the remaining time, and the seconds that `waited` says
    were spent on waiting for the rate limit.
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None  # noqa: ARG005
        return
    from lse.cli.progress import bar

    with bar(visible(label), after, waited) as advance:
        yield advance


def log_to_stderr(verbosity: int) -> None:
    """Show warnings of `lse`, with `-v` its progress, with `-vv` its details; never other libraries'."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines("lse: %(message)s"))
    logger = logging.getLogger("lse")
    logger.handlers = [handler]
    logger.setLevel([logging.WARNING, logging.INFO, logging.DEBUG][min(verbosity, 2)])
    logger.propagate = False


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))
