"""Signing in as a person, with a browser that the test plays, against the sandbox's consent page."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from lse.errors import AccessError, ConfigurationError, LseError, TemporaryError
from lse.sandbox.drive import DriveServer
from lse.sandbox.faults import Rule
from lse.settings import Settings
from lse.targets._drive_client import credentials_path
from lse.targets.drive import login, open

SCOPE = "https://www.googleapis.com/auth/drive.file"


@pytest.fixture
def server() -> Iterator[DriveServer]:
    with DriveServer() as started:
        yield started


@pytest.fixture
def settings(server: DriveServer, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        state_dir=tmp_path / "state",
        drive_api_root=server.url,
        drive_client=server.write_oauth_client(tmp_path / "client.json"),
    )


def browse(address: str) -> None:
    """Follow the address as a browser does, in a thread, since the login waits for it."""
    threading.Thread(target=requests.get, args=(address,), kwargs={"timeout": 30}, daemon=True).start()


def redirect_of(address: str) -> str:
    return parse_qs(urlsplit(address).query)["redirect_uri"][0]


def test_a_person_signs_in_and_the_target_works_with_what_is_saved(
    server: DriveServer, settings: Settings, tmp_path: Path
) -> None:
    path = login(settings, browse)
    assert path == tmp_path / "state" / "drive-credentials.json" == credentials_path(settings)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert json.loads(path.read_bytes()) == server.oauth_credentials()
    with closing(open("", settings)) as target:
        assert target.check() == "Google Drive as ada@example.com, folder lse, made at the first upload"


def test_the_address_asks_for_the_scope_and_a_lasting_consent_with_pkce(settings: Settings) -> None:
    shown: list[str] = []

    def show(address: str) -> None:
        shown.append(address)
        browse(address)

    login(settings, show)
    [address] = shown
    query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    assert urlsplit(query["redirect_uri"]).hostname == "127.0.0.1"
    assert {
        n: query[n] for n in ("scope", "access_type", "prompt", "response_type", "code_challenge_method")
    } == {
        "scope": SCOPE,
        "access_type": "offline",
        "prompt": "consent",
        "response_type": "code",
        "code_challenge_method": "S256",
    }
    assert len(query["state"]) >= 32
    assert len(query["code_challenge"]) >= 43


def test_a_further_login_replaces_what_an_earlier_one_saved(server: DriveServer, settings: Settings) -> None:
    first = login(settings, browse).read_bytes()
    assert login(settings, browse).read_bytes() != first
    server.revoke()
    assert login(settings, browse).stat().st_mode & 0o777 == 0o600
    with closing(open("", settings)) as target:
        assert target.check()


def test_a_service_accounts_key_is_never_overwritten(server: DriveServer, settings: Settings) -> None:
    path = credentials_path(settings)
    path.parent.mkdir()
    server.write_credentials(path)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="service account's key"):
        login(settings, browse)
    assert path.read_bytes() == before


REFUSALS: dict[str, tuple[str, dict[str, Any], type[LseError], str]] = {
    "the person refuses": ("consent", {"deny": True}, AccessError, "The consent was refused"),
    "the permission is unticked": ("consent", {"grant": "openid"}, AccessError, "was not granted"),
    "the code is refused": (
        "token",
        {"status": 400, "reason": "invalid_grant"},
        AccessError,
        "refused to exchange",
    ),
    "no refresh token": (
        "token",
        {"body": {"access_token": "ya29.x", "expires_in": 9, "token_type": "Bearer"}},
        AccessError,
        "was not granted",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_final_and_saves_nothing(server: DriveServer, settings: Settings, name: str) -> None:
    operation, do, kind, words = REFUSALS[name]
    server.faults.add(Rule(do, operation=operation))
    with pytest.raises(kind, match=words) as caught:
        login(settings, browse)
    assert "`lse drive login`" in caught.value.hint
    assert not credentials_path(settings).exists()


@pytest.mark.parametrize("do", [{"status": 503}, {"html": True}, {"body": {}}, {"reset_before": True}])
def test_a_token_service_that_stumbles_is_asked_again(
    server: DriveServer, settings: Settings, do: dict[str, Any]
) -> None:
    server.faults.add(Rule(do, operation="token"))
    assert login(settings, browse).exists()


def test_nobody_who_lacks_the_state_ends_or_hijacks_the_login(settings: Settings) -> None:
    answers: list[int] = []

    def intrude(address: str) -> None:
        def visits() -> None:
            place = redirect_of(address)
            for path in ("favicon.ico", "?code=evil", "?code=evil&state=guess", "?error=access_denied"):
                answers.append(requests.get(place + path, timeout=30).status_code)
            with socket.create_connection(("127.0.0.1", urlsplit(place).port or 0), 5) as silent:
                silent.close()
            answers.append(requests.get(address, timeout=30).status_code)

        threading.Thread(target=visits, daemon=True).start()

    login(settings, intrude)
    deadline = time.monotonic() + 5
    while len(answers) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert answers == [404, 404, 404, 404, 200]


def test_a_code_serves_once_and_only_with_its_secret(server: DriveServer, settings: Settings) -> None:
    codes: list[dict[str, str]] = []

    def show(address: str) -> None:
        answer = requests.get(address, timeout=30, allow_redirects=False)
        codes.append({k: v[0] for k, v in parse_qs(urlsplit(answer.headers["Location"]).query).items()})
        stolen = {
            **server.oauth_client()["installed"],
            "grant_type": "authorization_code",
            "code": codes[0]["code"],
            "redirect_uri": redirect_of(address),
            "code_verifier": "a guess",
        }
        assert (
            requests.post(f"{server.url}/token", data=stolen, timeout=30).json()["error"] == "invalid_grant"
        )
        browse(answer.headers["Location"])

    with pytest.raises(AccessError, match="refused to exchange"):
        login(settings, show)


def test_a_login_that_nobody_answers_ends_in_time(settings: Settings) -> None:
    began = time.monotonic()
    with pytest.raises(TemporaryError, match="Nobody consented within 0 s"):
        login(settings, lambda address: None, seconds=0.2)
    assert time.monotonic() - began < 5


def test_a_visitor_who_says_nothing_does_not_hold_up_the_login(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lse.targets._drive_login._Visit.timeout", 0.1)
    held: list[socket.socket] = []

    def show(address: str) -> None:
        place = urlsplit(redirect_of(address))
        held.append(socket.create_connection(("127.0.0.1", place.port or 0), 5))
        browse(address)

    assert login(settings, show).exists()
    held[0].close()


def _without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda client: {"installed": {k: v for k, v in client["installed"].items() if k != name}}


UNFIT: dict[str, tuple[Callable[[dict[str, Any]], Any], int, str]] = {
    "may be read by others": (lambda client: client, 0o640, "may be read by others"),
    "of a web application": (
        lambda client: {"web": client["installed"]},
        0o600,
        "no OAuth client of a desktop",
    ),
    "without a secret": (_without("client_secret"), 0o600, "no OAuth client of a desktop"),
    "a list": (lambda client: [client], 0o600, "no OAuth client of a desktop"),
    "of Google, with a local server": (
        lambda client: {
            "installed": client["installed"] | {"auth_uri": "https://accounts.google.com/o/oauth2/auth"}
        },
        0o600,
        "belong to different services",
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_an_unfit_client_is_refused_before_anybody_is_asked(
    server: DriveServer, settings: Settings, name: str
) -> None:
    change, mode, words = UNFIT[name]
    file = settings.drive_client
    assert file is not None
    file.write_text(json.dumps(change(server.oauth_client())))
    file.chmod(mode)
    with pytest.raises(ConfigurationError, match=words):
        login(settings, lambda address: pytest.fail("somebody was asked"))


def test_a_client_that_is_missing_or_no_json_is_refused(settings: Settings, tmp_path: Path) -> None:
    for client, words in (
        (None, "LSE_DRIVE_CLIENT is not set"),
        (tmp_path / "nowhere.json", "There is no file"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            login(settings.model_copy(update={"drive_client": client}), browse)
    (tmp_path / "client.json").write_text("{")
    with pytest.raises(ConfigurationError, match="is not JSON"):
        login(settings, browse)
