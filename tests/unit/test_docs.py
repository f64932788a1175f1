"""What the documentation says is what the code does: pages, commands, errors, faults, links, the format."""

import hashlib
import inspect
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType
from uuid import UUID

import pytest

from docs.generate import commands, pages
from lse import errors
from lse.archive.layout import project_slug
from lse.archive.manifest import describe_folder, dump_manifest, parse_manifest
from lse.archive.zip import open_zip, write_zip
from lse.models import ProjectDay, Run, parse_run
from lse.reports import DatedRun, Request
from lse.sandbox import Sandbox
from lse.sandbox.faults import ACTIONS, OPTIONS, Rule
from lse.sandbox.http import Server
from lse.sandbox.langsmith.limits import LIMITS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
EXAMPLE_DAY = ProjectDay("Chat Research", date(2025, 9, 13))


def page(name: str) -> str:
    """The text of a page of the documentation."""
    return (DOCS / name).read_text("utf-8")


def marked(text: str, mark: str) -> dict[str, str]:
    """The fenced blocks under `<!-- mark: NAME -->`, by name."""
    found = re.finditer(rf"^<!-- {mark}: (.+?) -->\n```[^\n]*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return {match[1]: match[2] for match in found}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Both servers, ready to take rules."""
    with Sandbox() as running:
        yield running


# Generated pages


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_generated_page_is_what_the_code_gives(name: str) -> None:
    assert page(name) == pages()[name], "type: make docs"


def test_generating_twice_gives_the_same_bytes() -> None:
    assert pages() == pages()


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=lambda value: str(value)[:40])
def test_every_command_and_option_is_described(path: str, command: object) -> None:
    section = re.search(
        rf"^#+ {re.escape(path)}\n(.*?)(?=^#|\Z)", page("commands.md"), re.DOTALL | re.MULTILINE
    )

    assert section is not None
    assert getattr(command, "help", None), f"{path} has no help"
    for parameter in getattr(command, "params", []):
        names = [name for name in (*parameter.opts, *parameter.secondary_opts) if "completion" not in name]
        for name in names:
            assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", section[1], re.IGNORECASE), name
        assert not names or parameter.help, f"{path} {names} has no help"


# Errors, faults, rates


ERRORS = [
    kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.LseError)
]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_kind_of_error_has_a_section_with_its_exit_code(kind: type[errors.LseError]) -> None:
    assert re.search(
        rf"^##+ {kind.__name__} \(exit code {kind.exit_code}\)$", page("errors.md"), re.MULTILINE
    )


def test_every_exit_code_is_in_the_tables() -> None:
    codes = {0, *(kind.exit_code for kind in ERRORS)}
    for name in ("errors.md", "architecture.md"):
        assert {int(code) for code in re.findall(r"^\| (\d+) \|", page(name), re.MULTILINE)} == codes


def test_every_fault_action_is_described(sandbox: Sandbox) -> None:
    text = page("sandbox.md")
    described = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))

    assert described >= ACTIONS | sandbox.langsmith.fault_actions | sandbox.drive.fault_actions
    assert all(f"`{option}`" in text for option in OPTIONS)


def test_every_operation_is_named(sandbox: Sandbox) -> None:
    named = set(re.findall(r"`(\w+)`", page("sandbox.md")))

    for server in (sandbox.langsmith, sandbox.drive):
        assert operations(server) <= named


def operations(server: Server) -> set[str]:
    """The operations that a server knows, without those that control it."""
    rows = [row for name in dir(type(server)) for row in getattr(getattr(type(server), name), "routes", ())]
    return {row.operation for row in rows if not row.template.startswith("/_sandbox/")}


def test_the_servers_take_every_rule_that_the_page_shows(sandbox: Sandbox) -> None:
    blocks = re.findall(r"^```json( drive)?\n(.*?)^```$", page("sandbox.md"), re.DOTALL | re.MULTILINE)
    rules = [
        (sandbox.drive if drive else sandbox.langsmith, json.loads(line))
        for drive, block in blocks
        for line in block.splitlines()
        if '"do"' in line
    ]

    assert len(rules) >= 10
    for server, rule in rules:
        server.faults.add(Rule.from_json(rule))
        assert any(re.fullmatch(rule["operation"], name) for name in operations(server)), rule


@pytest.mark.parametrize("kind", LIMITS)
def test_the_rates_of_the_sandbox_are_those_it_keeps(kind: str) -> None:
    requests, seconds = LIMITS[kind]
    assert f"| `{kind}` | {requests} | {seconds:.0f} |" in page("sandbox.md")


# Links


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_to_other_pages_lead_somewhere(path: Path) -> None:
    for link in LINK.findall(FENCE.sub("", path.read_text("utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, fragment = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        if fragment:
            assert fragment in anchors(target), link


def anchors(path: Path) -> set[str]:
    """The fragments that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_index_names_every_page() -> None:
    others = {path.name for path in DOCS.glob("*.md")} - {"index.md"}
    assert others <= set(LINK.findall(page("index.md")))


# The archive format


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The folder of the worked example."""
    folder = tmp_path / "example"
    folder.mkdir()
    for name, content in marked(page("archive-format.md"), "file").items():
        if name != "manifest.json":
            (folder / name).write_text(content, "utf-8")
    return folder


def test_the_program_of_the_page_computes_the_hash_of_the_page(example: Path) -> None:
    text = page("archive-format.md")
    program = marked(text, "program")["content_sha256"]

    done = subprocess.run([sys.executable, "-c", program], cwd=example, capture_output=True, check=True)

    said = done.stdout.decode().strip()
    assert said == json.loads(marked(text, "file")["manifest.json"])["content_sha256"]
    assert said == describe_folder(example, EXAMPLE_DAY).content_sha256


def test_the_manifest_of_the_page_is_the_one_that_is_written(example: Path) -> None:
    shown = marked(page("archive-format.md"), "file")["manifest.json"].encode()

    assert dump_manifest(describe_folder(example, EXAMPLE_DAY)) == shown
    assert parse_manifest(shown, "the page").day == EXAMPLE_DAY


def test_a_zip_of_the_example_has_the_members_and_marks_of_the_page(example: Path, tmp_path: Path) -> None:
    path = tmp_path / "day.zip"
    write_zip(example, describe_folder(example, EXAMPLE_DAY), path)

    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    names = sorted(path.name for path in example.iterdir())
    assert [member.filename for member in members] == [*names, "manifest.json"]
    assert len(names) == 4
    for member in members:
        assert member.date_time == (1980, 1, 1, 0, 0, 0)
        assert (member.create_system, member.external_attr >> 16, member.compress_type) == (3, 0o100644, 8)
        assert (member.extra, member.comment, member.flag_bits) == (b"", b"", 0)
    with open_zip(path) as reader:
        assert reader.manifest.counts["unplaced"] == 1


def test_the_trace_file_of_the_page_is_read_without_a_parser(example: Path) -> None:
    """As the page says: split at line breaks, take the commas off."""
    content = next(example.glob("1*.json")).read_bytes()
    head, _, rest = content.partition(b"\n")
    lists = re.split(rb'^(?:\],"feedback":\[|\],"files":\[|\]\})\n', rest, flags=re.MULTILINE)
    runs, feedback, files = [[line.removesuffix(b",") for line in part.splitlines()] for part in lists[:3]]

    assert head == b'{"format":"lse-trace/1","trace_id":"0199442e-6d40-7000-8000-000000000001","runs":['
    assert [parse_run(text).name for text in runs] == ["agent", "zenrows_scraper"]
    assert [json.loads(text)["score"] for text in feedback] == [1]
    assert [json.loads(text)["name"] for text in files] == ["attachment.note"]
    assert lists[3:] == [b""]
    assert json.loads(content)["trace_id"] == "0199442e-6d40-7000-8000-000000000001"


SLUGS = re.findall(
    r"^\| `(.+?)` \| `(.+?)` \|$", page("archive-format.md").partition("\n### The name")[0], re.MULTILINE
)


@pytest.mark.parametrize(("project", "slug"), SLUGS)
def test_the_slugs_of_the_page_are_those_of_the_code_and_of_the_rule(project: str, slug: str) -> None:
    assert project_slug(project) == slug == slug_by_the_page(project)


@pytest.mark.parametrize(
    "project",
    [
        "",
        ".",
        "a",
        "a.",
        "-a",
        "x" * 80,
        "x" * 81,
        "CON",
        "aux.b.c",
        "lpt9",
        "com",
        "A-0a1b2c3d",
        "a b",
        "_",
        "İ",
    ],
)
def test_the_rule_of_the_page_gives_the_slug_of_other_names_too(project: str) -> None:
    assert project_slug(project) == slug_by_the_page(project)


def slug_by_the_page(project: str) -> str:
    """The slug, written after `docs/archive-format.md` alone."""
    device = r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?"
    plain = (
        re.fullmatch(r"[a-z0-9][a-z0-9._-]*", project) and len(project) <= 80 and not project.endswith(".")
    )
    if plain and not re.fullmatch(device, project) and not re.search(r"-[0-9a-f]{8}$", project):
        return project
    readable = re.sub(r"[^a-z0-9._-]+", "-", project.lower()).strip("-._")[:60].rstrip("-._") or "project"
    if re.fullmatch(device, readable):
        readable = readable.replace(".", "-")
    return f"{readable}-{hashlib.sha256(project.encode()).hexdigest()[:8]}"


# Contributing


def guide_report() -> ModuleType:
    """The report that CONTRIBUTING.md shows, as a module."""
    text = marked((ROOT / "CONTRIBUTING.md").read_text("utf-8"), "report")["run_failures"]
    module = ModuleType("run_failures", text)
    exec(compile(text, "CONTRIBUTING.md", "exec"), module.__dict__)
    return module


def test_the_report_of_the_guide_counts_runs_and_failures_by_name() -> None:
    report = guide_report().REPORT
    runs = [
        DatedRun(date(2025, 9, 13), run)
        for run in map(recorded, (("b", "error"), ("a", "success"), ("b", None)))
    ]

    request = Request(date(2025, 9, 13), date(2025, 9, 13))
    rows = report.from_runs(runs, request)

    assert rows == [("b", 2, 2), ("a", 1, 0)]
    assert report.render(rows, request, "csv") == "name,runs,errors\nb,2,2\na,1,0\n"


def recorded(fields: tuple[str, str | None]) -> Run:
    """A run with this name and status."""
    name, status = fields
    text = {
        "id": str(UUID(int=1)),
        "trace_id": str(UUID(int=1)),
        "start_time": datetime(2025, 9, 13, tzinfo=UTC).isoformat(),
        "name": name,
        "status": status,
    }
    return parse_run(json.dumps(text).encode())
