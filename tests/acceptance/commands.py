"""`lse` as its users run it: a process of its own, in a folder of its own, with the settings given.

Most of what a command costs is importing what it needs. So it runs in a process that is forked from one that
has imported everything and done nothing else.
"""

import atexit
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from measured import measured
from surroundings import bare_environment

from lse.sandbox import Sandbox
from lse.sandbox.sample import SampleSummary

KEY = "sandbox-key"
LAST_DAY = date(2025, 9, 14)
PROJECT = "chat-research"
RECIPE = """
summary: What was asked, and which sources were used.
inputs:
  question: {paths: [inputs.question], required: true}
outputs:
  sources: {paths: [outputs.sources], kind: list, default: []}
"""
"""Of a dataset from the traces of that project."""
PROGRAM = str(Path(sys.executable).with_name("lse"))

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["everything"])


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Written:
    """A sandbox with sample traces in it."""

    sandbox: Sandbox
    summary: SampleSummary


class Lse:
    """Runs commands in `folder` with the given settings in the environment."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.settings = dict(settings)

    def __call__(self, *arguments: str, timeout: float = 120, **settings: str | None) -> Answer:
        """Run `lse` with `arguments`; a setting of None is taken out of the environment."""
        wanted = {name: value for name, value in {**self.settings, **settings}.items() if value is not None}
        environment = bare_environment(self.folder) | wanted
        with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as err:
            code = exit_code_of(arguments, self.folder, environment, out.name, err.name, timeout)
            return Answer(code, out.read().decode(), err.read().decode())


def exit_code_of(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    out: str,
    err: str,
    timeout: float = 120,
) -> int:
    """Run `lse` in a forked process that appends to the files `out` and `err`, which may be one."""
    with pytest.MonkeyPatch.context() as patches:
        patches.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # where `everything` is
        forkserver.ensure_running()
    process = _FORKS.Process(target=_become, args=(arguments, folder, environment, out, err))
    process.start()
    process.join(timeout)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise subprocess.TimeoutExpired(["lse", *arguments], timeout)
    return process.exitcode


def _become(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], out: str, err: str
) -> None:
    """Be `lse` with these arguments from here on, as far as the process can tell."""
    for descriptor, name in ((1, out), (2, err)):
        file = os.open(name, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, descriptor)
        os.close(file)
    with measured():
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = [PROGRAM, *arguments]

        from lse.cli import main

        try:
            main()
        finally:
            atexit._run_exitfuncs()  # a process that multiprocessing forked would not
