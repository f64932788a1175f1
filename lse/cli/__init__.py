"""The command line: parse, call one function, print what it returns.

Data goes to stdout as plain text; progress, warnings and errors go to stderr. Every failure is one line
that says what happened and a hint, with the exit code of its kind.
"""

import gc
import logging
import os
import signal
import sys
from contextlib import suppress
from types import FrameType

from lse.errors import Interrupted, LseError, UsageError, from_os_error, unexpected

_BEFORE_THE_COMMAND = {
    "--data-dir": "--data-dir PATH",
    "--archive-dir": "--archive-dir PATH",
    "--state-dir": "--state-dir PATH",
    "--target": "--target TARGET",
    "--verbose": "--verbose",
    "-v": "-v",
}
"""The options of `lse` itself, which people write behind a command, with what they take."""


def main() -> None:
    """Run `lse` with the arguments of this process and exit."""
    # Imports and rows are many objects and hardly garbage: looking for some took a tenth of a short command.
    gc.set_threshold(50_000)
    try:
        sys.exit(_run())
    except KeyboardInterrupt:  # before or after the command itself, which handles its own
        sys.exit(Interrupted.exit_code)


def _run() -> int:
    """Run the command; its exit code."""
    # Our own process never traces itself into the account it archives.
    os.environ |= {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}
    os.umask(0o077)
    signal.signal(signal.SIGTERM, _interrupt)
    from lse.cli.app import app
    from lse.cli.output import print_error

    try:
        code = int(app(prog_name="lse", standalone_mode=False) or 0)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone; say no more
        return 1
    except Exception as error:  # the last resort: whatever went wrong is said in one line
        if not isinstance(error, LseError) and logging.getLogger("lse").isEnabledFor(logging.DEBUG):
            raise
        translated = _translate(error)
        print_error(translated)
        return translated.exit_code
    if code == Interrupted.exit_code:
        print_error(Interrupted("Stopped.", hint="Run the same command again: what is done is kept."))
    return code


def _translate(error: Exception) -> LseError:
    from typer import Abort  # takes a while, in which an interrupt is to find `main`

    if isinstance(error, LseError):
        return error
    if isinstance(error, OSError):
        from lse.cli.options import settings
        from lse.settings import as_error

        with suppress(OSError, LseError):  # as when it is the `.env` that cannot be read
            return as_error(error, settings())
        return from_os_error(error)
    if isinstance(error, Abort):
        return Interrupted("Stopped; nothing was changed.")
    if say := getattr(error, "format_message", None):  # how Typer's parser marks what a user may put right
        option = getattr(error, "option_name", None)
        if option in _BEFORE_THE_COMMAND:
            hint = f"lse {_BEFORE_THE_COMMAND[option]} COMMAND ..."
            return UsageError(f"{option} stands before the command.", hint=hint)
        return UsageError(say(), hint="`--help` after a command shows what it takes.")
    return unexpected(error)


def _interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the form signal asks for
    raise KeyboardInterrupt
