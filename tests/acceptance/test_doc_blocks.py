"""What the documentation shows is run: blocks under `<!-- run -->`, against a sandbox with sample data.

The blocks of one page share a folder and a database, in their order. Each command is a line `$ lse ...`, with
settings before it if need be (`$ NAME=value lse ...`). It must exit with 0; after `<!-- run: exit 3 -->` the
last one of the block must exit with 3. Output is compared where the page shows any, stdout and stderr as a
terminal shows them; `...` stands for any text of a line, alone on a line for any number of lines. A block
under `<!-- file: NAME -->` is written to that file first.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import ModuleType

import pytest
from commands import exit_code_of
from surroundings import bare_environment

from lse.archive.identity import identify_run
from lse.archive.trace_file import make_trace
from lse.models import ProjectDay, parse_run
from lse.reports import DatedRun, Request
from lse.sandbox import Sandbox
from lse.sandbox.sample import write_sample
from lse.store import Store
from lse.store.reading import Reader

ROOT = Path(__file__).parents[2]
KEY = "sandbox-key"
BLOCK = re.compile(
    r"^<!-- (?P<mark>run|file): ?(?P<value>[^\n]*?) ?-->\n```[^\n]*\n(?P<body>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
RUN = re.compile(r"^<!-- run -->$", re.MULTILINE)


def blocks(text: str) -> list[tuple[str, str, str]]:
    """The marked blocks of a page: (`run` or `file`, exit code or file name, what is between the fences)."""
    plain = RUN.sub("<!-- run: exit 0 -->", text)
    return [
        (found["mark"], found["value"].removeprefix("exit "), found["body"])
        for found in BLOCK.finditer(plain)
    ]


def commands(body: str) -> list[tuple[str, str]]:
    """Each command of a console block with the output that the page shows for it."""
    parts = re.split(r"^\$ (.*)\n", body, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def pattern(shown: str) -> re.Pattern[str]:
    """What the shown output stands for."""
    lines = [
        r"(?:.*\n)*" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n"
        for line in shown.splitlines()
    ]
    return re.compile("".join(lines))


PAGES = [
    path
    for path in sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
    if any(mark == "run" for mark, _, _ in blocks(path.read_text("utf-8")))
]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox with the sample data that the pages name."""
    with Sandbox(api_key=KEY) as running:
        write_sample(running.langsmith.url, KEY, end=date(2025, 9, 14), days=2, traces_per_day=5)
        yield running


@pytest.fixture
def settings(sandbox: Sandbox, database_url: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a reader who has pasted the lines of `lse sandbox serve`."""
    key = sandbox.drive.write_credentials(tmp_path.with_suffix(".key"))
    return bare_environment(tmp_path) | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "LANGSMITH_ENDPOINT": sandbox.langsmith.url,
        "LANGSMITH_API_KEY": KEY,
        "LSE_DATABASE_URL": database_url,
        "LSE_TARGET": "drive",
        "LSE_DRIVE_API_ROOT": sandbox.drive.url,
        "LSE_DRIVE_CREDENTIALS": str(key),
        "LSE_DRIVE_FOLDER": tmp_path.name,
    }


def run(command: str, folder: Path, settings: dict[str, str], *, installed: bool) -> tuple[int, str]:
    """Run one line of a page; its exit code and what a terminal would show."""
    words = shlex.split(command)
    program = words.index("lse")
    environment = settings | dict(word.split("=", 1) for word in words[:program])
    with tempfile.NamedTemporaryFile() as shown:
        if installed:
            code = subprocess.run(
                words[program:],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=shown,
                stderr=subprocess.STDOUT,
                timeout=120,
            ).returncode
        else:
            code = exit_code_of(words[program + 1 :], folder, environment, shown.name, shown.name)
        return code, Path(shown.name).read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_what_a_page_shows_is_what_happens(page: Path, settings: dict[str, str], tmp_path: Path) -> None:
    for mark, value, body in blocks(page.read_text("utf-8")):
        if mark == "file":
            (tmp_path / value).write_text(body, "utf-8")
            continue
        lines = commands(body)
        for number, (command, shown) in enumerate(lines, 1):
            code, said = run(command, tmp_path, settings, installed=page.name == "README.md")
            assert code == (int(value) if number == len(lines) else 0), f"$ {command}\n{said}"
            assert not shown or pattern(shown).fullmatch(said), f"$ {command}\n{said}\nshown:\n{shown}"


def test_there_are_pages_with_blocks_to_run() -> None:
    assert {"sandbox.md", "errors.md"} <= {page.name for page in PAGES}


def test_dots_stand_for_any_text_and_alone_for_any_lines() -> None:
    assert pattern("a ... b\n...\nend\n").fullmatch("a x y b\none\ntwo\nend\n")
    assert pattern("...\nend\n").fullmatch("end\n")
    assert not pattern("a ... b\n").fullmatch("a x\n b\n")
    assert not pattern("a\n").fullmatch("a\nb\n")


def test_the_report_of_the_guide_says_the_same_from_store_and_files(store: Store, database_url: str) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    program = text.partition("<!-- report: run_failures -->\n```python\n")[2].partition("\n```")[0]
    module = ModuleType("run_failures")
    exec(compile(program, "CONTRIBUTING.md", "exec"), module.__dict__)
    report = module.REPORT
    day = ProjectDay("mine", date(2025, 9, 13))
    recorded = (ROOT / "docs" / "sandbox.md").read_text("utf-8").partition("<!-- file: runs.jsonl -->\n")[2]
    runs = [identify_run(line.encode()) for line in recorded.splitlines()[1:3]]
    root = next(run for run in runs if run.id == run.trace_id)
    store.load(day, [make_trace(root.id, [root])])
    request = Request(day.day, day.day, "mine")

    rows = report.from_store(Reader(database_url), request)

    assert rows == [("agent", 1, 0)]
    assert report.from_runs([DatedRun(day.day, parse_run(root.text))], request) == rows
    assert '"name": "agent"' in report.render(rows, request, "json")
