"""The local Drive, asked directly over HTTP and by the stock PyDrive2 client."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from googleapiclient.discovery import build_from_document
from googleapiclient.discovery_cache import get_static_doc
from pydrive2.auth import GoogleAuth
from pydrive2.drive import GoogleDrive

from lse.sandbox.drive import CHUNK_UNIT, DriveServer
from lse.sandbox.faults import Rule


@pytest.fixture
def server() -> Iterator[DriveServer]:
    with DriveServer() as drive:
        yield drive


class Asker:
    """A client of a few lines that signs in as the user."""

    def __init__(self, server: DriveServer) -> None:
        self.server = server
        form = server.oauth_credentials() | {"grant_type": "refresh_token"}
        form.pop("token_uri")
        token = self("POST", "/token", urllib.parse.urlencode(form).encode(), token="")[2]
        self.token = json.loads(token)["access_token"]

    def __call__(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        token: str | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        token = self.token if token is None else token
        request = urllib.request.Request(self.server.url + path, body, headers or {}, method=method)
        request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()

    def json(self, method: str, path: str, value: Any = None) -> Any:
        body = None if value is None else json.dumps(value).encode()
        status, _, content = self(method, path, body)
        return status if status >= 400 else json.loads(content)

    def titles(self, query: str, **params: str) -> list[str]:
        text = urllib.parse.urlencode({"q": query, **params})
        return [f["title"] for f in self.json("GET", f"/drive/v2/files?{text}")["items"]]

    def start(self, metadata: dict[str, Any], size: int) -> str:
        headers = {"X-Upload-Content-Length": str(size)}
        status, answer, _ = self(
            "POST", "/upload/drive/v2/files?uploadType=resumable", json.dumps(metadata).encode(), headers
        )
        assert status == 200
        return answer["Location"].removeprefix(self.server.url)

    def chunk(self, session: str, content_range: str, body: bytes = b"") -> tuple[int, str | None]:
        status, headers, _ = self("PUT", session, body, {"Content-Range": content_range})
        return status, headers.get("Range")


@pytest.fixture
def ask(server: DriveServer) -> Asker:
    return Asker(server)


def reason(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    return answer[0], json.loads(answer[2])["error"]["errors"][0]["reason"]


def test_nothing_is_told_without_a_token(server: DriveServer, ask: Asker) -> None:
    assert reason(ask("GET", "/drive/v2/about", token="wrong")) == (401, "authError")
    server.expire_tokens()
    assert reason(ask("GET", "/drive/v2/about")) == (401, "authError")


def test_a_revoked_or_foreign_refresh_token_is_an_invalid_grant(server: DriveServer, ask: Asker) -> None:
    form = server.oauth_credentials() | {"grant_type": "refresh_token"}
    server.revoke()
    status, _, body = ask("POST", "/token", urllib.parse.urlencode(form).encode())
    assert (status, json.loads(body)["error"]) == (400, "invalid_grant")
    form["client_secret"] = "wrong"
    status, _, body = ask("POST", "/token", urllib.parse.urlencode(form).encode())
    assert (status, json.loads(body)["error"]) == (401, "invalid_client")


def test_the_search_language_finds_what_it_should(server: DriveServer, ask: Asker) -> None:
    folder = server.plant("Archive")
    server.plant("it's.zip", b"1", folder)
    server.plant("Back\\slash.zip", b"2", folder)
    gone = server.plant("gone.zip", b"3", folder)
    ask("POST", f"/drive/v2/files/{gone}/trash")
    here = f"'{folder}' in parents"
    assert ask.titles(f"{here} and title = 'IT\\'S.ZIP'") == ["it's.zip"]
    assert ask.titles(f"{here} and title = 'back\\\\slash.zip'") == ["Back\\slash.zip"]
    assert ask.titles(f"{here} and trashed = true") == ["gone.zip"]
    assert ask.titles(f"{here} and not trashed = true", orderBy="title") == ["Back\\slash.zip", "it's.zip"]
    assert ask.titles("mimeType = 'application/vnd.google-apps.folder' and 'root' in parents") == ["Archive"]
    assert ask.titles(f"{here} and (title contains 'it' or title contains 'gon')") == ["it's.zip", "gone.zip"]
    assert ask.titles("modifiedDate > '2001-01-01T00:00:00' and title != 'x'", maxResults="2") == [
        "Archive",
        "it's.zip",
    ]
    assert ask.json("GET", "/drive/v2/files?q=nonsense") == 400


def test_properties_are_merged_searched_and_removed(server: DriveServer, ask: Asker) -> None:
    path = f"/drive/v2/files/{server.plant('a.zip', b'1')}"
    ask.json("PATCH", path, {"properties": [{"key": "k", "value": "v"}, {"key": "other", "value": "w"}]})
    ask.json("PATCH", path, {"properties": [{"key": "other", "value": None}]})
    found = ask.json("GET", f"{path}?fields=properties(key,value)")
    assert found == {"properties": [{"key": "k", "value": "v"}]}
    assert ask.titles("properties has { key='k' and value='v' and visibility='PRIVATE' }") == ["a.zip"]


def test_a_folder_in_the_trash_hides_what_is_in_it(server: DriveServer, ask: Asker) -> None:
    folder = server.plant("Archive")
    server.plant("a.zip", b"1", folder)
    ask("POST", f"/drive/v2/files/{folder}/trash")
    assert ask.titles("trashed = false") == []
    ask("POST", f"/drive/v2/files/{folder}/untrash")
    assert ask.titles("trashed = false") == ["Archive", "a.zip"]
    assert ask("DELETE", f"/drive/v2/files/{folder}")[0] == 204
    assert ask.titles("") == []


def test_lists_come_in_pages(server: DriveServer, ask: Asker) -> None:
    for number in range(5):
        server.plant(f"{number}", b"")
    page = ask.json("GET", "/drive/v2/files?maxResults=3&fields=items(title),nextPageToken")
    assert [f["title"] for f in page["items"]] == ["0", "1", "2"]
    rest = ask.json(
        "GET", f"/drive/v2/files?maxResults=3&pageToken={page['nextPageToken']}&fields=items/title"
    )
    assert rest == {"items": [{"title": "3"}, {"title": "4"}]}
    server.faults.add(Rule({"empty_page": True}))
    empty = ask.json("GET", "/drive/v2/files")
    assert (empty["items"], "nextPageToken" in empty) == ([], True)


def test_an_own_id_is_used_once(server: DriveServer, ask: Asker) -> None:
    (own,) = ask.json("GET", "/drive/v2/files/generateIds?maxResults=1")["ids"]
    body = json.dumps({"id": own, "title": "a"}).encode()
    assert ask("POST", "/drive/v2/files", body)[0] == 200
    assert reason(ask("POST", "/drive/v2/files", body)) == (409, "fileIdInUse")
    assert reason(ask("POST", "/drive/v2/files", b'{"id": "made-up"}')) == (400, "invalid")


def test_an_upload_in_chunks_answers_308_until_the_last(server: DriveServer, ask: Asker) -> None:
    content = b"x" * (2 * CHUNK_UNIT + 5)
    session = ask.start({"title": "a.zip"}, len(content))
    assert ask.chunk(session, f"bytes */{len(content)}") == (308, None)
    first = f"bytes 0-{CHUNK_UNIT - 1}/{len(content)}"
    assert ask.chunk(session, first, content[:CHUNK_UNIT]) == (308, f"bytes=0-{CHUNK_UNIT - 1}")
    assert ask.chunk(session, f"bytes {CHUNK_UNIT}-{CHUNK_UNIT + 9}/{len(content)}", b"x" * 10)[0] == 400
    rest = f"bytes {CHUNK_UNIT}-{len(content) - 1}/{len(content)}"
    assert ask.chunk(session, rest, content[CHUNK_UNIT:])[0] == 200
    assert ask.chunk(session, f"bytes */{len(content)}")[0] == 200
    assert server.files()["a.zip"][0].content == content
    assert server.fsck() == []


def test_downloads_come_whole_in_part_or_not_at_all(server: DriveServer, ask: Asker) -> None:
    path = f"/drive/v2/files/{server.plant('a.zip', b'0123456789')}?alt=media"
    assert ask("GET", path)[2] == b"0123456789"
    status, headers, body = ask("GET", path, headers={"Range": "bytes=2-4"})
    assert (status, headers["Content-Range"], body) == (206, "bytes 2-4/10", b"234")
    assert ask("GET", path, headers={"Range": "bytes=-3"})[2] == b"789"
    assert ask("GET", path, headers={"Range": "bytes=10-"})[0] == 416
    folder = server.plant("Archive")
    assert reason(ask("GET", f"/drive/v2/files/{folder}?alt=media")) == (403, "fileNotDownloadable")
    server.faults.add(Rule({"abuse": True}, operation="download"))
    assert reason(ask("GET", path)) == (403, "cannotDownloadAbusiveFile")


def test_full_storage_refuses_an_upload(server: DriveServer, ask: Asker) -> None:
    server.quota_bytes = 10
    answer = ask(
        "POST", "/upload/drive/v2/files?uploadType=resumable", b"{}", {"X-Upload-Content-Length": "11"}
    )
    assert reason(answer) == (403, "storageQuotaExceeded")


def test_fsck_names_twins_and_damage(server: DriveServer) -> None:
    first = server.plant("a.zip", b"1")
    server.plant("a.zip", b"2")
    server.damage(first)
    assert server.fsck() == ["a.zip: the content is not what was sent", "a.zip: 2 of that name in one folder"]


class LocalAuth(GoogleAuth):  # type: ignore[misc]
    """PyDrive2 as it is, pointed at the local server."""

    root = ""

    def Authorize(self) -> None:  # noqa: N802 - the name of PyDrive2
        document = json.loads(get_static_doc("drive", "v2"))
        document["rootUrl"] = self.root + "/"
        self.http = self.credentials.authorize(self.http or self._build_http())
        self.service = build_from_document(document, http=self.http)


def test_stock_pydrive2_works_against_it(server: DriveServer, tmp_path: Any) -> None:
    service = {"client_json_dict": server.service_account_key(), "client_user_email": None}
    auth = LocalAuth(
        settings={
            "client_config_backend": "service",
            "service_config": service,
            "oauth_scope": ["https://www.googleapis.com/auth/drive"],
        }
    )
    auth.root = server.url
    auth.ServiceAuth()
    drive = GoogleDrive(auth)
    assert drive.GetAbout()["rootFolderId"] == server.root_id
    made = drive.CreateFile({"title": "o'brien", "parents": [{"id": "root"}]})
    made.SetContentString("one")
    made.Upload()
    made.SetContentString("three")
    made.Upload()
    made.content.close()
    # A query of more than 2,048 characters goes out as POST.
    query = "title = 'o\\'brien' and " + " and ".join(["trashed = false"] * 200)
    (found,) = drive.ListFile({"q": query}).GetList()
    assert (found["id"], found["fileSize"]) == (made["id"], "5")
    found.GetContentFile(str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_text() == "three"
    assert [r["fileSize"] for r in found.GetRevisions()] == ["3", "5"]
    found.Trash()
    found.UnTrash()
    found.Delete()
    assert server.files() == {}
    auth.http.close()
    auth.thread_local.http.close()
