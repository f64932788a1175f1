"""What every target promises. A new file in lse/targets/ needs one line in `BUILDERS` and is tested here."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cache
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from lse.errors import ConfigurationError, IncompleteError, UsageError
from lse.sandbox.drive import DriveServer
from lse.settings import Settings
from lse.targets import Target, open_target, target_names

PATH = "my-project/2025-09-13.zip"
HELLO_MD5 = "5d41402abc4b2a76b9719d911017c592"


@contextmanager
def _drive(folder: Path) -> Iterator[Target]:
    with DriveServer() as server:
        settings = Settings(
            _env_file=None,
            state_dir=folder / "state",
            drive_credentials=server.write_credentials(folder / "key.json"),
            drive_api_root=server.url,
        )
        target = open_target("drive", settings)
        yield target
        target.close()


@contextmanager
def _directory(folder: Path) -> Iterator[Target]:
    yield open_target(f"directory:{folder / 'backup'}", Settings(_env_file=None))


@cache
def _s3_endpoint() -> str:
    """One server for all tests; its thread ends with the process."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    return "http://{}:{}".format(*server.get_host_and_port())


@contextmanager
def _s3(folder: Path) -> Iterator[Target]:
    bucket, endpoint = f"archive-{uuid4()}", _s3_endpoint()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "sandbox")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "sandbox")
        with closing(boto3.client("s3", endpoint_url=endpoint)) as client:
            client.create_bucket(Bucket=bucket)
        target = open_target(f"s3:{bucket}/lse", Settings(_env_file=None, s3_endpoint=endpoint))
        yield target
        target.close()


BUILDERS: dict[str, Callable[[Path], AbstractContextManager[Target]]] = {
    "directory": _directory,
    "drive": _drive,
    "s3": _s3,
}


@pytest.fixture(params=target_names())
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    assert request.param in BUILDERS, "tell this test how to open the target"
    with BUILDERS[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "day.zip"
    path.write_bytes(b"hello")
    return path


def test_it_is_named_after_its_file_and_says_what_it_reaches(target: Target) -> None:
    assert target.name in target_names()
    line = target.check()
    assert line
    assert "\n" not in line


def test_what_is_put_is_found_with_size_md5_and_properties(target: Target, file: Path) -> None:
    stored = target.put(PATH, file, {"content_sha256": "ab" * 32})
    assert (stored.path, stored.size, stored.md5) == (PATH, 5, HELLO_MD5)
    assert dict(stored.properties) == {"content_sha256": "ab" * 32}
    assert target.find(PATH) == stored
    assert list(target.list()) == [stored]


def test_nothing_is_found_before_anything_is_put(target: Target) -> None:
    assert target.find(PATH) is None
    assert list(target.list()) == []
    target.trash(PATH)


def test_equal_content_is_sent_once(target: Target, file: Path) -> None:
    sent: list[int] = []
    first = target.put(PATH, file, {"a": "1"}, sent.append)
    assert sent[-1] == 5
    sent.clear()
    assert target.put(PATH, file, {"a": "1"}, sent.append) == first
    assert sent == []


def test_properties_change_without_sending_the_content_again(target: Target, file: Path) -> None:
    target.put(PATH, file, {"a": "1"})
    sent: list[int] = []
    stored = target.put(PATH, file, {"a": "2"}, sent.append)
    assert (dict(stored.properties), sent) == ({"a": "2"}, [])


def test_changed_content_keeps_exactly_one_object(target: Target, file: Path) -> None:
    target.put(PATH, file, {})
    file.write_bytes(b"hello again")
    stored = target.put(PATH, file, {})
    assert stored.size == 11
    assert list(target.list()) == [stored]
    assert target.read(PATH, 0, 100) == b"hello again"


def test_an_empty_file_is_kept_too(target: Target, file: Path, tmp_path: Path) -> None:
    file.write_bytes(b"")
    assert target.put(PATH, file, {}).size == 0
    assert target.get(PATH, tmp_path / "copy").md5 == "d41d8cd98f00b204e9800998ecf8427e"
    assert (tmp_path / "copy").read_bytes() == b""


def test_get_brings_the_content_back_and_leaves_nothing_else(
    target: Target, file: Path, tmp_path: Path
) -> None:
    stored = target.put(PATH, file, {})
    received: list[int] = []
    copies = tmp_path / "copies"
    copies.mkdir()
    assert target.get(PATH, copies / "day.zip", received.append) == stored
    assert [p.name for p in copies.iterdir()] == ["day.zip"]
    assert (copies / "day.zip").read_bytes() == b"hello"
    assert received[-1] == 5


def test_read_gives_a_part_and_less_at_the_end(target: Target, file: Path) -> None:
    target.put(PATH, file, {})
    assert target.read(PATH, 1, 3) == b"ell"
    assert target.read(PATH, 3, 100) == b"lo"
    assert target.read(PATH, 5, 10) == b""


def test_list_is_ordered_and_narrowed_by_a_prefix(target: Target, file: Path) -> None:
    for path in ("b/2.zip", "a/1.zip", "b/1.zip", "bc/1.zip"):
        target.put(path, file, {})
    assert [o.path for o in target.list()] == ["a/1.zip", "b/1.zip", "b/2.zip", "bc/1.zip"]
    assert [o.path for o in target.list("b/")] == ["b/1.zip", "b/2.zip"]
    assert [o.path for o in target.list("b/2")] == ["b/2.zip"]
    assert [o.path for o in target.list("nothing")] == []


def test_trash_takes_it_away_and_a_further_put_brings_it_back(target: Target, file: Path) -> None:
    target.put(PATH, file, {})
    target.trash(PATH)
    assert target.find(PATH) is None
    assert list(target.list()) == []
    target.put(PATH, file, {})
    assert [o.path for o in target.list()] == [PATH]


def test_absent_objects_are_a_clear_error(target: Target, tmp_path: Path) -> None:
    with pytest.raises(IncompleteError, match=r"2025-09-13\.zip"):
        target.get(PATH, tmp_path / "copy")
    with pytest.raises(IncompleteError, match=r"2025-09-13\.zip"):
        target.read(PATH, 0, 1)
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    "path", ["../evil.zip", "/etc/passwd", "a//b.zip", "a/..", "", ".trash/x", "a\\b", "a/\n"]
)
def test_paths_that_lead_elsewhere_are_refused(target: Target, file: Path, path: str) -> None:
    with pytest.raises(UsageError):
        target.put(path, file, {})


def test_names_with_quotes_and_letters_of_all_kinds_work(target: Target, file: Path) -> None:
    path = "o'brien & söhne/it's “fine” 日本.zip"
    stored = target.put(path, file, {"note": "ü'"})
    assert target.find(path) == stored
    assert [o.path for o in target.list("o'brien")] == [path]


def test_an_unknown_target_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ConfigurationError, match="no target 'carrier-pigeon'; there are: directory, drive, s3"
    ):
        open_target("carrier-pigeon:/x", Settings(_env_file=None))


def test_a_misplaced_argument_is_refused() -> None:
    settings = Settings(_env_file=None)
    with pytest.raises(ConfigurationError, match="takes no argument"):
        open_target("drive:folder", settings)
    with pytest.raises(ConfigurationError, match="needs a path"):
        open_target("directory", settings)
    with pytest.raises(ConfigurationError, match="needs a bucket"):
        open_target("s3", settings)


def test_importing_the_targets_imports_none_of_their_libraries() -> None:
    code = (
        "import sys, lse.targets;"
        "print([m for m in sys.modules if m.startswith(('pydrive2', 'googleapi', 'boto'))])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60) == "[]\n"
