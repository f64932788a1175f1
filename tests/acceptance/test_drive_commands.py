"""`lse drive`, and what a sweep asks of Drive before it begins."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from commands import LAST_DAY, PROJECT, Lse

from lse.sandbox.drive import DriveServer
from lse.sandbox.faults import Rule


@pytest.fixture
def drive() -> Iterator[DriveServer]:
    with DriveServer() as server:
        yield server


@pytest.fixture
def client(drive: DriveServer, tmp_path: Path) -> Lse:
    """`lse` in an empty folder, set up for the sandbox's Drive alone."""
    key = drive.write_credentials(tmp_path / "key.json")
    return Lse(
        tmp_path,
        {"LSE_TARGET": "drive", "LSE_DRIVE_API_ROOT": drive.url, "LSE_DRIVE_CREDENTIALS": str(key)},
    )


def test_login_opens_an_address_and_keeps_credentials_that_work(client: Lse, drive: DriveServer) -> None:
    settings = {
        "PATH": os.environ["PATH"],
        "HOME": str(client.folder),
        "LSE_DRIVE_API_ROOT": drive.url,
        "LSE_DRIVE_CLIENT": str(drive.write_oauth_client(client.folder / "client.json")),
    }
    command = [str(Path(sys.executable).with_name("lse")), "-vv", "drive", "login", "--no-browser", "--json"]
    with subprocess.Popen(
        command, cwd=client.folder, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = ""
        while not (found := re.search(r"http://\S+/o/oauth2/auth\S+", said)):
            said += (line := process.stderr.readline())
            assert line, said
        requests.get(found[0], timeout=30)
        out, rest = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(out) == {"account": "ada@example.com", "credentials": ".lse/drive-credentials.json"}
    for secret in (drive.refresh_token, "ya29.", "4/sandbox", "code_verifier", "sandbox-client-secret"):
        assert secret not in said + rest + out
    saved = client.folder / ".lse" / "drive-credentials.json"
    assert saved.stat().st_mode & 0o777 == 0o600
    answer = client("drive", "status", LSE_DRIVE_CREDENTIALS=None)
    assert (answer.code, answer.out.splitlines()[0]) == (0, "account    ada@example.com")


def test_login_without_a_client_says_how_to_make_one(client: Lse) -> None:
    answer = client("drive", "login", LSE_DRIVE_CREDENTIALS=None)
    assert answer.code == 7
    assert answer.err.startswith("lse: LSE_DRIVE_CLIENT is not set.\n     Make an OAuth client of the type")


def test_init_makes_the_folder_once_and_prints_the_line_for_the_settings(
    client: Lse, drive: DriveServer
) -> None:
    first, again = client("drive", "init"), client("drive", "init")
    assert first.code == 0
    assert re.fullmatch(r"LSE_DRIVE_FOLDER=id:1[\w-]{32}\n", first.out)
    assert again.out == first.out
    assert client("drive", "status", LSE_DRIVE_FOLDER=first.out.strip().partition("=")[2]).code == 0


def test_init_makes_the_folder_on_a_shared_drive(client: Lse, drive: DriveServer) -> None:
    shared = drive.shared_drive()
    made = client("drive", "init", "--shared-drive", f"id:{shared}", "--json").json
    assert drive.item(made["folder_id"]).parents == [shared]
    assert client("drive", "init", "--shared-drive", shared, "--json").json == made
    found = client("drive", "status", "--json", LSE_DRIVE_FOLDER=made["LSE_DRIVE_FOLDER"]).json
    assert (found["shared_drive"], found["writable"], found["problem"]) == (True, True, None)
    refused = client("drive", "init", "--shared-drive", shared, LSE_DRIVE_FOLDER="id:x")
    assert refused.code == 2
    absent = client("drive", "init", "--shared-drive", "nowhere")
    assert (absent.code, "cannot see the shared drive nowhere" in absent.err) == (7, True)


def test_status_shows_the_account_the_folder_and_the_storage(client: Lse, drive: DriveServer) -> None:
    assert client("drive", "status").out == (
        "account    lse@sandbox.iam.gserviceaccount.com\n"
        "scope      https://www.googleapis.com/auth/drive.file\n"
        "folder     lse, made at the first upload\n"
        "link       -\n"
        "archives   0\n"
        "storage    0.0 GB used of no limit\n"
    )
    made = client("drive", "init", "--json").json
    folder = drive.plant("chat-research", None, made["folder_id"])
    drive.plant("2025-09-13.zip", b"zip", folder)
    found = client("drive", "status", "--json").json
    assert {name: found[name] for name in ("exit_code", "folder", "folder_id", "writable", "archives")} == {
        "exit_code": 0,
        "folder": "lse",
        "folder_id": made["folder_id"],
        "writable": True,
        "archives": 1,
    }


def test_a_folder_that_may_not_be_written_is_said_with_the_right_that_is_missing(
    client: Lse, drive: DriveServer
) -> None:
    made = client("drive", "init", "--json").json
    drive.item(made["folder_id"]).writable = False
    answer = client("drive", "status")
    assert answer.code == 5
    assert "may not write to the Drive folder lse" in answer.err
    assert "lse, in My Drive, not writable" in answer.out


def test_revoked_credentials_lead_to_a_further_login(client: Lse, drive: DriveServer) -> None:
    drive.write_credentials(client.folder / "key.json", oauth=True)
    drive.revoke()
    answer = client("drive", "status", "--json")
    assert (answer.code, answer.json["error"]["kind"]) == (5, "AccessError")
    assert "`lse drive login`" in answer.json["error"]["hint"]


def test_nothing_secret_is_said_at_the_highest_verbosity(client: Lse, drive: DriveServer) -> None:
    """The canaries: access token, signed assertion, private key, upload session."""
    drive.faults.add(Rule({"status": 503, "headers": {"Retry-After": "0"}}, operation="about"))
    answer = client("-vv", "drive", "status")
    assert answer.code == 0
    assert "answered 503" in answer.err
    for secret in ("ya29.", "eyJ", "PRIVATE KEY", "upload_id", "assertion"):
        assert secret not in answer.err + answer.out


SWEEP = ("archive", "full-sweep", "--project", PROJECT, "--date", LAST_DAY.isoformat(), "--skip-db")


@pytest.mark.parametrize("trap", ["no storage", "storage full", "wrong folder", "folder in the trash"])
def test_a_sweep_stops_before_it_fetches_when_no_upload_can_work(lse: Lse, trap: str) -> None:
    server = {
        "service_account_quota": trap != "no storage",
        "quota_bytes": 0 if trap == "storage full" else None,
    }
    with DriveServer(**server) as drive:
        folder = "lse"
        if trap == "wrong folder":
            folder = "id:nowhere"
        elif trap == "folder in the trash":
            folder = f"id:{(planted := drive.plant('lse'))}"
            drive.item(planted).trashed = True
        key = drive.write_credentials(lse.folder / "trap.json", oauth=trap == "storage full")
        answer = lse(
            *SWEEP,
            LSE_DRIVE_API_ROOT=drive.url,
            LSE_DRIVE_CREDENTIALS=str(key),
            LSE_DRIVE_FOLDER=folder,
        )
    words = {
        "no storage": "has no storage, and the folder is on no shared drive",
        "storage full": "The Drive storage of ada@example.com is full",
        "wrong folder": "is no folder that",
        "folder in the trash": "lies in the trash",
    }
    assert answer.code == 7
    assert words[trap] in answer.err
    assert not (lse.folder / "data").exists()


def test_a_sweep_goes_on_when_drive_refuses(lse: Lse) -> None:
    with DriveServer() as drive:
        key = drive.write_credentials(lse.folder / "own.json")
        drive.revoke()
        drive.faults.add(Rule({"status": 403, "reason": "accessNotConfigured"}, operation=".*", times=None))
        began = time.monotonic()
        answer = lse(*SWEEP, "--json", LSE_DRIVE_API_ROOT=drive.url, LSE_DRIVE_CREDENTIALS=str(key))
        assert time.monotonic() - began < 30
    assert {step["step"]: step["state"] for step in answer.json["steps"]}["fetch"] == "done"
    assert answer.code == 5
