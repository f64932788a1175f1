"""Uploads to and downloads from a Drive that misbehaves, through the real client."""

import contextlib
import dataclasses
import json
import logging
import random
import stat
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lse.errors import AccessError, ConfigurationError, DifferencesFound, LseError, TemporaryError
from lse.sandbox.drive import CHUNK_UNIT, DriveServer
from lse.sandbox.faults import Rule
from lse.settings import Settings
from lse.targets._drive_client import Client
from lse.targets._drive_errors import drive_error
from lse.targets._retry import RetryPolicy
from lse.targets.drive import DriveTarget

PATH = "my-project/2025-09-13.zip"
PLACE = f"lse/{PATH}"
CONTENT = random.Random(1).randbytes(4 * CHUNK_UNIT)
"""Four chunks of the smallest size that Drive allows."""
FAST = RetryPolicy(base=0.001, cap=0.01, retry_after_cap=0.05, total=5)


class Lab:
    """A server, a file to upload, and as many targets as a test wants processes."""

    def __init__(self, folder: Path, **server: Any) -> None:
        self.folder = folder
        self.server = DriveServer(**server).start()
        self.file = folder / "day.zip"
        self.file.write_bytes(CONTENT)
        self.settings = Settings(
            _env_file=None,
            state_dir=folder / "state",
            drive_credentials=self.server.write_credentials(folder / "key.json"),
            drive_api_root=self.server.url,
        )
        self._opened: list[DriveTarget] = []

    def target(
        self, *, policy: RetryPolicy = FAST, timeout: float = 5, folder: str | None = None
    ) -> DriveTarget:
        settings = self.settings.model_copy(update={"drive_folder": folder}) if folder else self.settings
        client = Client(settings, policy=policy, timeout=timeout)
        self._opened.append(DriveTarget(settings, client, chunk_bytes=CHUNK_UNIT))
        return self._opened[-1]

    def fault(self, operation: str, do: dict[str, Any], *, skip: int = 0, times: int | None = 1) -> None:
        self.server.faults.add(Rule(do, operation=operation, skip=skip, times=times))

    def sent(self) -> int:
        """The bytes of content that reached the server."""
        return sum(e.bytes_in for e in self.server.log if e.operation == "upload_chunk")

    def counts(self) -> dict[str, int]:
        """How many live files there are at each path."""
        return {path: len(items) for path, items in self.server.files().items()}

    def close(self) -> None:
        for target in self._opened:
            target.close()
        self.server.stop()


@pytest.fixture
def make_lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    labs: list[Lab] = []

    def make(**server: Any) -> Lab:
        labs.append(Lab(tmp_path, **server))
        return labs[-1]

    yield make
    for lab in labs:
        lab.close()


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    return make_lab()


RATE = {"status": 403, "reason": "userRateLimitExceeded"}
UPLOAD_FAULTS: dict[str, tuple[str, dict[str, Any], int, int, float]] = {
    # name: operation, action, skip, times, the most that is sent as a multiple of the content
    "503 in the middle": ("upload_chunk", {"status": 503}, 1, 1, 1.25),
    "five 502 with HTML": ("upload_chunk", {"status": 502, "format": "html"}, 1, 5, 2.25),
    "503 without a body": ("upload_chunk", {"status": 503, "format": "empty"}, 1, 1, 1.25),
    "three rate limits": ("upload_chunk", RATE, 1, 3, 1.75),
    "429 without a reason": ("upload_chunk", {"status": 429, "format": "empty"}, 1, 1, 1.25),
    "429 with Retry-After": (
        "upload_chunk",
        {"status": 429, "headers": {"Retry-After": "0"}},
        1,
        1,
        1.25,
    ),
    "408": ("upload_chunk", {"status": 408, "format": "empty"}, 1, 1, 1.25),
    "stored, then reset": ("upload_chunk", {"handle_then_reset": True}, 1, 1, 1.0),
    "stored, then closed": ("upload_chunk", {"handle_then_reset": "close"}, 1, 1, 1.25),
    "stored, then 503": ("upload_chunk", {"handle_then_status": 503}, 1, 1, 1.0),
    "reset while sending": ("upload_chunk", {"reset_reading": 100_000}, 1, 1, 1.25),
    "stored in part": ("upload_chunk", {"short_persist": 100_000}, 1, 1, 1.5),
    "nothing stored": ("upload_chunk", {"short_persist": 0}, 1, 1, 1.25),
    "401 on a chunk": ("upload_chunk", {"status": 401}, 1, 1, 1.25),
    "session lost with 404": ("upload_chunk", {"session_gone": 404}, 2, 1, 1.75),
    "session lost with 410": ("upload_chunk", {"session_gone": 410}, 2, 1, 1.75),
    "last chunk's answer lost": ("upload_chunk", {"handle_then_reset": True}, 3, 1, 1.0),
    "last chunk's answer closed": ("upload_chunk", {"handle_then_reset": "close"}, 3, 1, 1.25),
    "last answer cut short": ("upload_chunk", {"truncate": 10}, 3, 1, 1.0),
    "last answer is half JSON": ("upload_chunk", {"badjson": True}, 3, 1, 1.0),
    "last answer is HTML": ("upload_chunk", {"html": True}, 3, 1, 1.25),
    "stored corrupt once": ("upload_chunk", {"corrupt_stored": True}, 3, 1, 2.0),
    "wrong checksum told once": ("upload_chunk", {"wrong_md5": True}, 3, 1, 2.0),
    "checksum missing at first": ("upload_chunk", {"no_md5": True}, 3, 1, 1.0),
    "hang": ("upload_chunk", {"hang": 3}, 1, 1, 1.25),
    "session answer is HTML": ("upload_start", {"html": True}, 0, 1, 1.0),
    "session answer lost": ("upload_start", {"handle_then_reset": True}, 0, 1, 1.0),
    "folder answer lost": ("insert_file", {"handle_then_reset": True}, 0, 1, 1.0),
    "folder answer closed": ("insert_file", {"handle_then_reset": "close"}, 1, 1, 1.0),
    "folder answer 503": ("insert_file", {"handle_then_status": 503}, 1, 1, 1.0),
    "list is {}": ("list_files", {"body": {}}, 0, 2, 1.0),
    "list is null": ("list_files", {"body": "null"}, 0, 2, 1.0),
    "list is HTML": ("list_files", {"html": True}, 0, 2, 1.0),
    "list page empty": ("list_files", {"empty_page": True}, 0, 1, 1.0),
    "list cut short": ("list_files", {"truncate": 5}, 0, 1, 1.0),
    "no ids yet": ("generate_ids", {"status": 500}, 0, 2, 1.0),
    "token service busy": ("token", {"status": 503}, 0, 2, 1.0),
    "token answer is {}": ("token", {"body": {}}, 0, 1, 1.0),
    "token answer is null": ("token", {"body": "null"}, 0, 1, 1.0),
    "token answer is HTML": ("token", {"html": True}, 0, 1, 1.0),
    "token answer lost": ("token", {"handle_then_reset": True}, 0, 1, 1.0),
}


@pytest.mark.parametrize("name", UPLOAD_FAULTS)
def test_an_upload_survives(lab: Lab, name: str) -> None:
    operation, do, skip, times, most = UPLOAD_FAULTS[name]
    lab.fault(operation, do, skip=skip, times=times)
    target = lab.target(timeout=0.5 if "hang" in do else 5)
    stored = target.put(PATH, lab.file, {"content_sha256": "ab"})
    assert lab.server.faults.describe()["rules"][0]["fired"] == times
    assert target.find(PATH) == stored
    assert lab.server.files()[PLACE][0].content == CONTENT
    assert lab.counts() == {PLACE: 1}
    assert lab.server.fsck() == []
    assert lab.sent() <= most * len(CONTENT)


def test_a_second_put_asks_but_sends_nothing(lab: Lab) -> None:
    target = lab.target()
    target.put(PATH, lab.file, {"a": "1"})
    lab.server.clear_log()
    target.put(PATH, lab.file, {"a": "1"})
    asked = [e.operation for e in lab.server.log]
    assert asked == [
        "read_file",
        "read_file",
        "read_file",
        "list_files",
    ]  # two folders, the file, twins of it


def test_a_lost_state_directory_adopts_what_is_there(lab: Lab) -> None:
    first = lab.target().put(PATH, lab.file, {"a": "1"})
    for note in (lab.folder / "state" / "uploads").iterdir():
        note.unlink()
    lab.server.clear_log()
    assert lab.target().put(PATH, lab.file, {"a": "1"}) == first
    assert lab.sent() == 0


def test_changed_content_is_a_revision_of_the_same_file(lab: Lab) -> None:
    target = lab.target()
    first = target.put(PATH, lab.file, {"content_sha256": "ab"})
    lab.file.write_bytes(b"later")
    second = target.put(PATH, lab.file, {"content_sha256": "cd"})
    assert (second.id, dict(second.properties)) == (first.id, {"content_sha256": "cd"})
    assert [r.content for r in lab.server.item(first.id).revisions] == [CONTENT, b"later"]


def test_another_process_takes_an_upload_up_where_it_stopped(lab: Lab) -> None:
    lab.fault("upload_(chunk|status)", {"status": 503}, skip=3, times=None)
    with pytest.raises(TemporaryError, match="503"):
        lab.target(policy=dataclasses.replace(FAST, total=0.05)).put(PATH, lab.file, {})
    lab.server.faults.clear()
    before = 3 * CHUNK_UNIT
    lab.server.clear_log()
    lab.target().put(PATH, lab.file, {})
    assert lab.sent() == len(CONTENT) - before
    assert [e.operation for e in lab.server.log if e.operation.startswith("upload")] == [
        "upload_status",
        "upload_chunk",
    ]
    assert lab.counts() == {PLACE: 1}


KILLED = """
import os, sys
from pathlib import Path
from lse.settings import Settings
from lse.targets._drive_client import Client
from lse.targets.drive import DriveTarget
folder, url = Path(sys.argv[1]), sys.argv[2]
settings = Settings(_env_file=None, state_dir=folder / "state", drive_credentials=folder / "key.json",
                    drive_api_root=url)
target = DriveTarget(settings, Client(settings), chunk_bytes=262144)
target.put(sys.argv[3], folder / "day.zip", {}, lambda n: os.kill(os.getpid(), 9) if n >= 524288 else None)
"""


def test_a_killed_upload_is_finished_by_the_next_process(lab: Lab) -> None:
    command = [sys.executable, "-c", KILLED, str(lab.folder), lab.server.url, PATH]
    assert subprocess.run(command, check=False, timeout=60).returncode == -9
    lab.target().put(PATH, lab.file, {})
    assert lab.sent() == len(CONTENT)
    assert (lab.counts(), lab.server.fsck()) == ({PLACE: 1}, [])


KILLED_AFTER = """
import os, sys
from pathlib import Path
import httplib2
from lse.settings import Settings
from lse.targets._drive_client import Client
from lse.targets.drive import DriveTarget
folder, url = Path(sys.argv[1]), sys.argv[2]
answer_of = httplib2.Http.request

def upload(last):
    def request(self, *args, **kwargs):
        nonlocal last
        answer = answer_of(self, *args, **kwargs)
        last -= 1
        if not last:
            os.kill(os.getpid(), 9)
        return answer
    httplib2.Http.request = request
    settings = Settings(_env_file=None, state_dir=folder / f"state-{last}", drive_folder=f"lse-{last}",
                        drive_credentials=folder / "key.json", drive_api_root=url)
    target = DriveTarget(settings, Client(settings), chunk_bytes=262144)
    target.put(sys.argv[3], folder / "day.zip", {"date": "2025-09-13"})

for last in range(1, 100):
    child = os.fork()
    if not child:
        upload(last)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != -9:
        print(last)
        break
"""


def test_an_upload_killed_after_any_of_its_requests_is_finished_by_the_next_process(lab: Lab) -> None:
    command = [sys.executable, "-c", KILLED_AFTER, str(lab.folder), lab.server.url, PATH]
    requests = int(subprocess.check_output(command, text=True, timeout=100))
    assert requests >= 15  # token, folders, ids, session, chunks, twins: one killed process after each
    for last in range(1, requests):
        lab.server.clear_log()
        settings = {"state_dir": lab.folder / f"state-{last}", "drive_folder": f"lse-{last}"}
        lab.settings = lab.settings.model_copy(update=settings)
        stored = lab.target().put(PATH, lab.file, {"date": "2025-09-13"})
        assert dict(stored.properties) == {"date": "2025-09-13"}
        assert lab.sent() <= len(CONTENT)
    assert lab.counts() == {f"lse-{last}/{PATH}": 1 for last in range(1, requests + 1)}
    assert lab.server.fsck() == []


@pytest.mark.parametrize("contents", ["equal", "different"])
def test_two_machines_that_share_nothing_leave_one_file_in_one_folder(lab: Lab, contents: str) -> None:
    targets, errors = [], []
    for machine in ("a", "b", "c"):
        lab.settings = lab.settings.model_copy(update={"state_dir": lab.folder / f"state-{machine}"})
        file = lab.folder / machine
        file.write_bytes(CONTENT if contents == "equal" else machine.encode() * len(CONTENT))
        targets.append((lab.target(), file))

    def put(target: DriveTarget, file: Path) -> None:
        try:
            target.put(PATH, file, {})
        except LseError as error:
            errors.append(error)

    threads = [threading.Thread(target=put, args=pair) for pair in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert (lab.counts(), lab.server.fsck()) == ({PLACE: 1}, [])
    target, file = targets[0]
    target.put(PATH, file, {})
    assert lab.server.files()[PLACE][0].content == file.read_bytes()
    assert (lab.counts(), lab.server.fsck()) == ({PLACE: 1}, [])


@pytest.mark.parametrize("size", [0, 1, CHUNK_UNIT - 1, CHUNK_UNIT, CHUNK_UNIT + 1, 3 * CHUNK_UNIT])
def test_sizes_around_a_chunk_arrive_whole(lab: Lab, size: int) -> None:
    lab.file.write_bytes(CONTENT[:size])
    target = lab.target()
    assert target.put(PATH, lab.file, {}).size == size
    target.get(PATH, lab.folder / "copy.zip")
    assert (lab.folder / "copy.zip").read_bytes() == CONTENT[:size]


def test_a_file_that_shrinks_while_it_is_uploaded_never_appears(lab: Lab) -> None:
    def shrink(sent: int) -> None:
        lab.file.write_bytes(b"less")

    with pytest.raises(LseError, match="changed while it was uploaded"):
        lab.target().put(PATH, lab.file, {}, shrink)
    assert lab.counts() == {}
    assert lab.target().put(PATH, lab.file, {}).size == 4


@pytest.mark.parametrize("how", ["deleted", "trashed"])
def test_a_folder_that_goes_away_during_an_upload_is_made_again_by_the_next(lab: Lab, how: str) -> None:
    target = lab.target()
    first = target.put(PATH, lab.file, {})
    folder = lab.server.item(first.id).parents[0]
    lab.file.write_bytes(CONTENT[::-1])

    def take_away(sent: int) -> None:
        if how == "trashed":
            lab.server.item(folder).trashed = True
        else:
            with contextlib.suppress(KeyError):
                lab.server.forget(folder)

    with contextlib.suppress(LseError):
        target.put(PATH, lab.file, {}, take_away)
    lab.target().put(PATH, lab.file, {})
    assert lab.server.files()[PLACE][0].content == CONTENT[::-1]
    assert (lab.counts(), lab.server.fsck()) == ({PLACE: 1}, [])


def test_what_somebody_else_uploaded_over_ours_is_replaced_and_stays_a_revision(lab: Lab) -> None:
    target = lab.target()
    stored = target.put(PATH, lab.file, {})
    lab.server.overwrite(stored.id, b"a person's")
    target.put(PATH, lab.file, {})
    assert [r.content for r in lab.server.item(stored.id).revisions] == [CONTENT, b"a person's", CONTENT]


def test_more_than_a_page_of_archives_is_listed(lab: Lab) -> None:
    folder = lab.server.plant("my-project", None, lab.server.plant("lse", None))
    for number in range(1001):
        lab.server.plant(f"{number:04}.zip", b"zip", folder)
    lab.fault("list_files", {"short_page": 7}, skip=2, times=3)
    assert [o.path[-8:-4] for o in lab.target().list()] == [f"{n:04}" for n in range(1001)]


def test_a_question_too_long_for_an_address_is_sent_as_a_body(lab: Lab) -> None:
    path = f"{'ü' * 400}/2025-09-13.zip"
    target = lab.target()
    assert target.put(path, lab.file, {}) == target.find(path)
    assert lab.counts() == {f"lse/{path}": 1}


def test_a_wrong_clock_is_said(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    late = types.SimpleNamespace(time=lambda: time.time() - 7200)
    monkeypatch.setattr("oauth2client.service_account.time", late)
    with pytest.raises(AccessError, match="refused the Drive credentials") as caught:
        lab.target().check()
    assert "clock" in caught.value.hint


def test_a_session_of_other_content_is_not_taken_up(lab: Lab) -> None:
    lab.fault("upload_(chunk|status)", {"status": 503}, skip=2, times=None)
    with pytest.raises(TemporaryError):
        lab.target(policy=dataclasses.replace(FAST, total=0.05)).put(PATH, lab.file, {})
    lab.server.faults.clear()
    lab.file.write_bytes(CONTENT[::-1])
    lab.target().put(PATH, lab.file, {})
    assert [r.content for r in lab.server.files()[PLACE][0].revisions] == [CONTENT[::-1]]
    assert lab.counts() == {PLACE: 1}


def test_a_session_forgotten_after_its_last_chunk_is_not_repeated(lab: Lab) -> None:
    lab.fault("upload_chunk", {"handle_then_reset": True}, skip=3)
    lab.fault("upload_status", {"session_gone": 404})
    lab.target().put(PATH, lab.file, {})
    assert (lab.sent(), lab.counts()) == (len(CONTENT), {PLACE: 1})


def test_an_id_that_is_taken_out_of_sight_is_replaced(lab: Lab) -> None:
    lab.fault("upload_start", {"status": 409, "reason": "fileIdInUse"})
    lab.target().put(PATH, lab.file, {})
    assert [e.operation for e in lab.server.log].count(
        "generate_ids"
    ) == 4  # two folders, the file, once more
    assert lab.counts() == {PLACE: 1}


def test_a_server_that_stores_nothing_is_given_up(lab: Lab) -> None:
    lab.fault("upload_chunk", {"short_persist": 0}, times=None)
    with pytest.raises(TemporaryError, match="kept nothing"):
        lab.target(policy=dataclasses.replace(FAST, total=0.05)).put(PATH, lab.file, {})


def test_sessions_that_always_vanish_are_given_up(lab: Lab) -> None:
    lab.fault("upload_chunk", {"session_gone": 404}, times=None)
    with pytest.raises(TemporaryError, match="forgotten by Google Drive 5 times"):
        lab.target().put(PATH, lab.file, {})


def test_content_that_always_arrives_damaged_is_reported(lab: Lab) -> None:
    lab.fault("upload_chunk", {"corrupt_stored": True}, times=None)
    with pytest.raises(DifferencesFound, match=r"does not hold my-project/2025-09-13\.zip as it was sent"):
        lab.target().put(PATH, lab.file, {})
    assert lab.sent() == 3 * len(CONTENT)


def test_full_storage_is_final_and_leaves_no_file(lab: Lab) -> None:
    lab.fault("upload_start", {"quota": True}, times=None)
    with pytest.raises(ConfigurationError, match="storage is full"):
        lab.target().put(PATH, lab.file, {})
    assert [e.status for e in lab.server.log if e.operation == "upload_start"] == [403]
    assert lab.counts() == {}


def test_a_service_account_without_storage_is_sent_to_a_shared_drive(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(service_account_quota=False)
    with pytest.raises(ConfigurationError) as caught:
        lab.target().put(PATH, lab.file, {})
    assert "shared drive" in caught.value.hint
    shared = lab.server.shared_drive()
    target = lab.target(folder=f"id:{shared}")
    stored = target.put(PATH, lab.file, {})
    assert target.check().endswith(f"folder id:{shared}")
    assert target.read(PATH, 0, 4) == CONTENT[:4]
    assert [o.id for o in target.list("my-")] == [stored.id]


def test_a_folder_that_cannot_be_seen_is_a_configuration_error(lab: Lab) -> None:
    target = lab.target(folder="id:nowhere")
    with pytest.raises(ConfigurationError, match="LSE_DRIVE_FOLDER=id:nowhere"):
        target.check()
    with pytest.raises(ConfigurationError, match="LSE_DRIVE_FOLDER=id:nowhere"):
        target.put(PATH, lab.file, {})


def test_a_late_list_does_not_make_a_second_file(lab: Lab) -> None:
    lab.fault("list_files", {"listing_lag": 60}, times=None)
    lab.target().put(PATH, lab.file, {})
    lab.file.write_bytes(b"later")
    lab.target().put(PATH, lab.file, {})
    assert (lab.counts(), lab.server.fsck()) == ({PLACE: 1}, [])


def test_a_file_trashed_or_moved_by_somebody_is_uploaded_again(lab: Lab) -> None:
    target = lab.target()
    first = target.put(PATH, lab.file, {})
    lab.server.item(first.id).trashed = True
    assert target.find(PATH) is None
    second = target.put(PATH, lab.file, {})
    lab.server.item(second.id).title = "renamed.zip"
    third = target.put(PATH, lab.file, {})
    assert len({first.id, second.id, third.id}) == 3
    assert lab.counts() == {"lse/my-project/renamed.zip": 1, PLACE: 1}


@pytest.mark.parametrize("again", ["the same target", "another process"])
def test_a_folder_in_the_trash_is_made_again(lab: Lab, again: str) -> None:
    target = lab.target()
    stored = target.put(PATH, lab.file, {})
    folder = lab.server.item(stored.id).parents[0]
    lab.server.item(folder).trashed = True
    (target if again == "the same target" else lab.target()).put(PATH, lab.file, {})
    assert (lab.counts(), lab.server.fsck()) == ({PLACE: 1}, [])


def test_twins_of_ours_go_to_the_trash_and_those_of_others_stay(lab: Lab) -> None:
    target = lab.target()
    stored = target.put(PATH, lab.file, {})
    folder = lab.server.item(stored.id).parents[0]
    ours = lab.server.plant("2025-09-13.zip", b"twin", folder)
    lab.server.item(ours).properties["lse", "PRIVATE"] = "1"
    foreign = lab.server.plant("2025-09-13.zip", b"a person's", folder)
    case = lab.server.plant("2025-09-13.ZIP", b"other name", folder)
    lab.server.item(case).properties["lse", "PRIVATE"] = "1"
    target.put(PATH, lab.file, {})
    assert [lab.server.item(i).trashed for i in (stored.id, ours, foreign, case)] == [
        False,
        True,
        False,
        False,
    ]


def test_two_threads_make_one_folder(lab: Lab) -> None:
    target, errors = lab.target(), []

    def put(day: int) -> None:
        try:
            target.put(f"my-project/2025-09-{day}.zip", lab.file, {})
        except LseError as error:
            errors.append(error)

    threads = [threading.Thread(target=put, args=(day,)) for day in range(10, 16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert (len(lab.counts()), lab.server.fsck()) == (6, [])


DOWNLOAD_FAULTS: dict[str, dict[str, Any]] = {
    "503": {"status": 503},
    "reset in the middle": {"reset_middle": True},
    "cut short": {"truncate": 1000},
    "range ignored": {"ignore_range": True},
    "damaged once": {"corrupt_download": True},
    "HTML": {"html": True},
    "401": {"status": 401},
}


@pytest.mark.parametrize("name", DOWNLOAD_FAULTS)
def test_a_download_survives(lab: Lab, name: str) -> None:
    target = lab.target()
    target.put(PATH, lab.file, {})
    lab.fault("download", DOWNLOAD_FAULTS[name])
    target.get(PATH, lab.folder / "copy.zip")
    assert (lab.folder / "copy.zip").read_bytes() == CONTENT


def test_a_part_that_comes_short_is_asked_for_again(lab: Lab) -> None:
    target = lab.target()
    target.put(PATH, lab.file, {})
    lab.fault("download", {"badjson": True})
    assert target.read(PATH, 100, 1000) == CONTENT[100:1100]


def test_a_damaged_object_never_gets_the_final_name(lab: Lab) -> None:
    target = lab.target()
    target.put(PATH, lab.file, {})
    lab.fault("download", {"corrupt_download": True}, times=None)
    copies = lab.folder / "copies"
    copies.mkdir()
    with pytest.raises(DifferencesFound, match="arrives damaged"):
        target.get(PATH, copies / "day.zip")
    assert list(copies.iterdir()) == []


def test_saved_credentials_of_a_user_work_until_they_are_revoked(lab: Lab) -> None:
    lab.server.write_credentials(lab.folder / "key.json", oauth=True)
    target = lab.target()
    assert target.check() == "Google Drive as ada@example.com, folder lse, made at the first upload"
    lab.server.expire_tokens()
    target.put(PATH, lab.file, {})
    lab.server.revoke()
    with pytest.raises(AccessError, match="refused the Drive credentials"):
        target.find(PATH)
    with pytest.raises(AccessError, match="refused the Drive credentials"):
        lab.target().check()


def test_a_wrong_key_is_an_access_error(lab: Lab) -> None:
    pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    key = lab.server.service_account_key() | {"private_key": pem.decode()}
    (lab.folder / "key.json").write_text(json.dumps(key))
    with pytest.raises(AccessError, match="refused the Drive credentials"):
        lab.target().check()


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (None, 0o644, "may be read by others"),
        ("{", 0o600, "is not JSON"),
        ('{"refresh_token": "x"}', 0o600, "neither a service-account key nor saved credentials"),
        ("[]", 0o600, "neither a service-account key nor saved credentials"),
    ],
)
def test_unfit_credentials_are_refused(lab: Lab, content: str | None, mode: int, message: str) -> None:
    key = lab.folder / "key.json"
    if content is not None:
        key.write_text(content)
    key.chmod(mode)
    with pytest.raises(ConfigurationError, match=message):
        lab.target()


def test_a_key_that_is_no_key_is_a_configuration_error(lab: Lab) -> None:
    key = lab.folder / "key.json"
    key.write_text(json.dumps(lab.server.service_account_key() | {"private_key": "nonsense"}))
    with pytest.raises(ConfigurationError, match="private key"):
        lab.target().check()


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("https://drive.example.com", "neither https://www.googleapis.com nor a loopback address"),
        ("http://www.googleapis.com", "neither https://www.googleapis.com nor a loopback address"),
        ("http://127.0.0.1.example.com", "neither https://www.googleapis.com nor a loopback address"),
        ("https://www.googleapis.com", "belong to different services"),
    ],
)
def test_tokens_go_to_no_other_server(lab: Lab, root: str, message: str) -> None:
    lab.settings = lab.settings.model_copy(update={"drive_api_root": root})
    with pytest.raises(ConfigurationError, match=message):
        lab.target()


def test_a_redirect_is_not_followed(lab: Lab) -> None:
    with DriveServer() as other:
        lab.fault("about", {"redirect": f"{other.url}/drive/v2/about"})
        with pytest.raises(LseError, match="answered 307"):
            lab.target().check()
        assert other.log == ()


def test_an_unreachable_server_is_temporary(lab: Lab) -> None:
    target = lab.target(policy=dataclasses.replace(FAST, total=0.05))
    lab.server.stop()
    with pytest.raises(TemporaryError, match="no usable answer"):
        target.check()


def test_secrets_stay_out_of_logs_and_notes_are_private(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    lab.fault("upload_chunk", {"session_gone": 404}, skip=1)
    lab.fault("upload_chunk", {"status": 503})
    lab.target().put(PATH, lab.file, {})
    for secret in ("upload_id=", "ya29.", "eyJ", "PRIVATE KEY"):
        assert secret not in caplog.text
    notes = lab.folder / "state" / "uploads"
    assert stat.S_IMODE(notes.stat().st_mode) == 0o700
    assert {stat.S_IMODE(n.stat().st_mode) for n in notes.iterdir()} == {0o600}


def test_properties_too_long_for_drive_are_left_out(lab: Lab) -> None:
    stored = lab.target().put(PATH, lab.file, {"project": "x" * 118, "date": "2025-09-13"})
    assert dict(stored.properties) == {"date": "2025-09-13"}


def test_retry_after_wins_over_the_back_off_up_to_its_cap() -> None:
    answers: list[LseError | None] = [TemporaryError("busy", retry_after=60), None]

    def step() -> str:
        if error := answers.pop(0):
            raise error
        return "done"

    began = time.monotonic()
    assert RetryPolicy(base=0, cap=0, retry_after_cap=0.05, total=5).run(step) == "done"
    assert 0.05 <= time.monotonic() - began < 2


def test_errors_tell_the_kind_but_never_the_servers_words() -> None:
    body = json.dumps({"error": {"errors": [{"reason": "it's \x1b[2J", "message": "secret"}]}}).encode()
    error = drive_error(403, {}, body)
    assert (type(error), error.message) == (AccessError, "Google Drive answered 403.")
    assert isinstance(drive_error(400, {}, b"<html>"), LseError)
