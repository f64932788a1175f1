"""`lse` as a process under strace: what it asks of the file system, and what it does when that fails."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from machines import DAY, Machine

STRACE = shutil.which("strace")
SWEEP = ("archive", "full-sweep", "--project", DAY.project, "--date", DAY.day.isoformat())

_CALL = re.compile(r"^(\d+) +(\w+)\((.*)$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>")
_OF_DESCRIPTOR = re.compile(r"^\d+<(.*?)>")
_TEXTS = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Call:
    """One call that succeeded, in the order in which calls came to their end."""

    name: str
    paths: tuple[str, ...]


def run(machine: Machine, *trace: str) -> subprocess.CompletedProcess[str]:
    """`lse archive full-sweep` of `machine`, under strace where there are options for it."""
    (machine.folder / "tmp").mkdir(exist_ok=True)
    strace = (
        [STRACE or "strace", "-f", "--seccomp-bpf", "-y", "-o", str(_log(machine)), *trace] if trace else []
    )
    return subprocess.run(
        [*strace, sys.executable, "-c", "from lse.cli import main; main()", *SWEEP],
        cwd=machine.folder,
        env=machine.environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )


def calls(machine: Machine) -> list[Call]:
    """What the last `run` under strace asked of the file system."""
    return list(_ended(_log(machine).read_text().splitlines()))


def counts(machine: Machine) -> Counter[str]:
    """How often each call was made by one thread at most: the numbers that a fault can be put at."""
    made = Counter(
        match.group(1, 2) for line in _log(machine).read_text().splitlines() if (match := _CALL.match(line))
    )
    most: Counter[str] = Counter()
    for (_, name), number in made.items():
        most[name] = max(most[name], number)
    return most


def unsafe_renames(calls: list[Call], folder: Path) -> list[str]:
    """What is renamed below `folder` and not flushed before, or whose folder is not flushed afterwards."""
    found, flushed = [], set()
    for number, call in enumerate(calls):
        if call.name == "fsync":
            flushed.add(call.paths[0])
        elif call.name.startswith("rename") and call.paths[0].startswith(str(folder)):
            old, new = call.paths
            if Path(old).suffix == ".tmp" and old not in flushed:
                found.append(f"{old} was not flushed before it was renamed")
            later = {each.paths[0] for each in calls[number:] if each.name == "fsync"}
            if str(Path(new).parent) not in later:
                found.append(f"the folder of {new} was not flushed after the rename")
    return found


def _log(machine: Machine) -> Path:
    return machine.folder / "strace.log"


def _ended(lines: list[str]) -> Iterator[Call]:
    begun: dict[tuple[str, str], Call] = {}
    for line in lines:
        if resumed := _RESUMED.match(line):
            call = begun.pop(resumed.group(1, 2), None)
        elif match := _CALL.match(line):
            thread, name, arguments = match.groups()
            descriptor = _OF_DESCRIPTOR.match(arguments)
            call = Call(name, (descriptor.group(1),) if descriptor else tuple(_TEXTS.findall(arguments)))
            if "<unfinished" in line:
                begun[thread, name] = call
                continue
        else:
            continue
        if call is not None and line.endswith(" = 0"):
            yield call
