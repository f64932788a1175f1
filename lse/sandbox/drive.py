"""A local Google Drive, API v2: what the real PyDrive2 client needs, and the ways in which Drive goes wrong.

Files live in memory. Tokens are issued for a generated service account (signed assertions are checked), for
a refresh token, and for a code that a person brings from the consent page, which here consents by itself;
every other request needs one. The form of requests, answers and errors follows
Google's Drive v2 reference; resumable uploads follow its guide to uploading file data.

Actions beyond those of `lse.sandbox.faults`:

    short_persist     keep only this many bytes of an upload chunk
    session_gone      forget the upload session and answer with this status (404 or 410)
    corrupt_stored    change one byte of the content as it is stored
    corrupt_download  change one byte of the content as it is sent
    wrong_md5         give a wrong md5Checksum
    no_md5            give no md5Checksum
    quota             refuse an upload because the storage is full
    listing_lag       hide items younger than this many seconds from lists
    empty_page        answer a list with an empty page that has a next one
    short_page        answer a list with at most this many items
    ignore_range      answer a ranged download with the whole content
    abuse             refuse a download that does not acknowledge the risk
    deny              answer a request for consent as a person who refuses it
    grant             give this scope instead of the one that was asked for
"""

import base64
import hashlib
import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from lse.archive.files import write_atomically
from lse.sandbox._drive_query import QueryError, Resource, parse_query, select_fields, sort_resources
from lse.sandbox.http import Refused, Request, Response, Server, json_response, route

FOLDER = "application/vnd.google-apps.folder"
CHUNK_UNIT = 256 * 1024
"""Every upload chunk but the last must be a multiple of this (Google's guide to resumable uploads)."""
PAGE_MAXIMUM = 1000

_MESSAGES = {
    "authError": "Invalid Credentials",
    "backendError": "Backend Error",
    "cannotDownloadAbusiveFile": "This file has been identified as malware or spam and cannot be downloaded.",
    "fileIdInUse": "A file already exists with the provided ID.",
    "fileNotDownloadable": "Only files with binary content can be downloaded.",
    "insufficientFilePermissions": "The user does not have sufficient permissions for this file.",
    "rateLimitExceeded": "Rate Limit Exceeded",
    "storageQuotaExceeded": "The user's Drive storage quota has been exceeded.",
    "userRateLimitExceeded": "User Rate Limit Exceeded",
}
_REASONS = {400: "badRequest", 401: "authError", 403: "forbidden", 404: "notFound", 429: "rateLimitExceeded"}


@dataclass(slots=True)
class Revision:
    """One content of a file; `sent_md5` is that of the bytes the client sent, `md5` that of `content`."""

    id: str
    content: bytes
    modified: float
    sent_md5: str
    md5: str
    sha256: str


@dataclass(slots=True)
class Item:
    """A file or folder. `parents` holds folder ids; the last of `revisions` is the content."""

    id: str
    title: str
    mime: str
    parents: list[str]
    created: float
    modified: float
    drive_id: str = ""
    trashed: bool = False
    writable: bool = True
    properties: dict[tuple[str, str], str] = field(default_factory=dict)
    """By (key, visibility)."""
    revisions: list[Revision] = field(default_factory=list)

    @property
    def content(self) -> bytes:
        return self.revisions[-1].content if self.revisions else b""


@dataclass(slots=True)
class _Session:
    """An upload in progress; `target` is the id of the file that it makes or updates."""

    target: str
    metadata: dict[str, Any]
    update: bool
    total: int | None
    received: bytearray = field(default_factory=bytearray)
    finished: bool = False


@dataclass(frozen=True, slots=True)
class _Consent:
    """What a code from the consent page stands for."""

    redirect_uri: str
    challenge: str
    scope: str


@dataclass(frozen=True, slots=True)
class _Token:
    expires: float
    service_account: bool


class DriveServer(Server):
    """A Google Drive v2 of one user and one service account on a loopback port.

    `token_seconds` is the life of access tokens, `quota_bytes` the storage (None: without end), and
    `service_account_quota=False` refuses a service account's uploads to My Drive, as Google does since 2025.
    """

    fault_actions = frozenset(
        {
            "short_persist",
            "session_gone",
            "corrupt_stored",
            "corrupt_download",
            "wrong_md5",
            "no_md5",
            "quota",
            "listing_lag",
            "empty_page",
            "short_page",
            "ignore_range",
            "abuse",
            "deny",
            "grant",
        }
    )

    def __init__(
        self,
        port: int = 0,
        *,
        seed: int = 0,
        token_seconds: int = 3600,
        quota_bytes: int | None = None,
        service_account_quota: bool = True,
    ) -> None:
        super().__init__(port, seed=seed)
        self.token_seconds = token_seconds
        self.quota_bytes = quota_bytes
        self.service_account_quota = service_account_quota
        self.refresh_token = "1//sandbox-refresh-token"  # noqa: S105 - opens nothing but this sandbox
        self._random = random.Random(f"ids/{seed}")  # noqa: S311 - names of sandbox files
        self._lock = threading.RLock()
        self._items: dict[str, Item] = {}
        self._sessions: dict[str, _Session] = {}
        self._tokens: dict[str, _Token] = {}
        self._issued: set[str] = set()
        self._consents: dict[str, _Consent] = {}
        self.root_id = self._add_root("My Drive")

    # What tests and the command line do behind the client's back.

    def service_account_key(self) -> dict[str, str]:
        """A key file's content, as Google's console gives it, whose tokens come from this server."""
        pem = _key().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "project_id": "sandbox",
            "private_key_id": "sandbox-key",
            "private_key": pem.decode(),
            "client_email": "lse@sandbox.iam.gserviceaccount.com",
            "client_id": "100000000000000000000",
            "token_uri": f"{self.url}/token",
        }

    def oauth_credentials(self) -> dict[str, str]:
        """Saved credentials of an ordinary user, in the form `lse` reads them."""
        return {
            "client_id": "sandbox.apps.googleusercontent.com",
            "client_secret": "sandbox-client-secret",
            "refresh_token": self.refresh_token,
            "token_uri": f"{self.url}/token",
        }

    def oauth_client(self) -> dict[str, dict[str, Any]]:
        """The file of an OAuth client for a desktop app, as Google's console gives it."""
        known = self.oauth_credentials()
        return {
            "installed": {
                "client_id": known["client_id"],
                "client_secret": known["client_secret"],
                "project_id": "sandbox",
                "auth_uri": f"{self.url}/o/oauth2/auth",
                "token_uri": known["token_uri"],
                "redirect_uris": ["http://localhost"],
            }
        }

    def write_oauth_client(self, path: Path) -> Path:
        """Write the OAuth client to `path` with mode 0600."""
        write_atomically(path, json.dumps(self.oauth_client(), indent=2).encode())
        return path

    def write_credentials(self, path: Path, *, oauth: bool = False) -> Path:
        """Write the service account's key, or the user's credentials, to `path` with mode 0600."""
        value = self.oauth_credentials() if oauth else self.service_account_key()
        path.unlink(missing_ok=True)
        write_atomically(path, json.dumps(value, indent=2).encode())
        return path

    def expire_tokens(self) -> None:
        """Make every access token invalid; refreshing still works."""
        with self._lock:
            self._tokens.clear()

    def revoke(self) -> None:
        """Withdraw the user's consent: access and refresh tokens stop working."""
        with self._lock:
            self._tokens.clear()
            self.refresh_token = ""

    def shared_drive(self, name: str = "Team") -> str:
        """Make a shared drive; its id serves as a folder id."""
        with self._lock:
            return self._add_root(name, shared=True)

    def plant(self, title: str, content: bytes | None = None, parent: str = "root") -> str:
        """Put a file there as another user would, or a folder when `content` is None; gives its id."""
        with self._lock:
            mime = FOLDER if content is None else "application/zip"
            item = self._insert(
                self._make_id(), {"title": title, "mimeType": mime, "parents": [{"id": parent}]}
            )
            if content is not None:
                self._store(item, content, {})
            return item.id

    def overwrite(self, file_id: str, content: bytes) -> None:
        """Give a file other content, as another user would."""
        with self._lock:
            self._store(self._items[file_id], content, {})

    def forget(self, file_id: str) -> None:
        """Delete a file for good, or a folder with everything below it, as another user would."""
        with self._lock:
            self._delete(self._items[file_id])

    def damage(self, file_id: str) -> None:
        """Change one byte of a stored file, as failing hardware would."""
        with self._lock:
            item = self._items[file_id]
            sent_md5 = item.revisions[-1].sent_md5
            self._store(item, _damaged(item.content), {})
            item.revisions[-1].sent_md5 = sent_md5

    def item(self, file_id: str) -> Item:
        """The file or folder with this id; `KeyError` when there is none."""
        return self._items[file_id]

    def files(self, *, trashed: bool = False) -> dict[str, list[Item]]:
        """The files (not) in the trash, by path below their root, such as `lse/chat/2025-09-13.zip`."""
        found: dict[str, list[Item]] = {}
        with self._lock:
            for item in self._items.values():
                if item.parents and item.mime != FOLDER and self._in_trash(item) == trashed:
                    found.setdefault(self._path(item), []).append(item)
        return found

    def fsck(self) -> list[str]:
        """What is wrong with the stored files: twins, lost parents, content that is not what was sent."""
        problems: list[str] = []
        with self._lock:
            places: dict[tuple[str, str], int] = {}
            for item in self._items.values():
                problems += [
                    f"{item.title}: its folder {p} is gone" for p in item.parents if p not in self._items
                ]
                if item.revisions and item.revisions[-1].md5 != item.revisions[-1].sent_md5:
                    problems.append(f"{item.title}: the content is not what was sent")
                if item.parents and not self._in_trash(item):
                    place = (item.parents[0], item.title)
                    places[place] = places.get(place, 0) + 1
        return problems + [
            f"{title}: {n} of that name in one folder" for (_, title), n in places.items() if n > 1
        ]

    # How requests are let in and told apart.

    def error_response(self, status: int, reason: str = "") -> Response:
        reason = reason or _REASONS.get(status, "backendError" if status >= 500 else "badRequest")
        return _error(status, reason, _MESSAGES.get(reason, reason))

    def prepare(self, request: Request) -> None:
        """Queries that are too long for an address come as POST and say so in a header."""
        if request.method == "POST" and request.headers.get("X-HTTP-Method-Override", "").upper() == "GET":
            request.method = "GET"

    def find(self, request: Request) -> Callable[[Request], Response]:
        handler = super().find(request)
        if request.operation == "read_file" and request.arg("alt") == "media":
            request.operation = "download"
        elif request.operation == "upload_chunk" and "bytes */" in request.headers.get("Content-Range", ""):
            request.operation = "upload_status"
        return handler

    def respond(self, handler: Callable[[Request], Response], request: Request) -> Response:
        with self._lock:
            return super().respond(handler, request)

    def authorize(self, request: Request) -> None:
        if request.operation not in ("token", "consent") and self._token(request).expires <= time.time():
            raise Refused(self.error_response(401))

    def _token(self, request: Request) -> _Token:
        text = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return self._tokens.get(text, _Token(0, service_account=False))

    @route("GET", "/o/oauth2/auth", "consent")
    def consent(self, request: Request) -> Response:
        """Send the browser back with a code (RFC 6749, section 4.1; RFC 7636), as a person who consents."""
        redirect = request.arg("redirect_uri")
        if (
            request.arg("client_id") != self.oauth_credentials()["client_id"]
            or request.arg("response_type") != "code"
            or request.arg("code_challenge_method") != "S256"
            or urlsplit(redirect).hostname != "127.0.0.1"
        ):
            raise Refused(Response(400, {"Content-Type": "text/plain"}, b"Error 400: invalid_request"))
        answer = {"state": request.arg("state")}
        if "deny" in request.faults:
            answer["error"] = "access_denied"
        else:
            answer["code"] = code = f"4/sandbox-{self._random.getrandbits(128):032x}"
            scope = str(request.faults.get("grant", request.arg("scope")))
            self._consents[code] = _Consent(redirect, request.arg("code_challenge"), scope)
        return Response(302, {"Location": f"{redirect}?{urlencode(answer)}"})

    @route("POST", "/token", "token")
    def give_token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        granted: dict[str, Any] = {}
        match form.get("grant_type", ""):
            case "urn:ietf:params:oauth:grant-type:jwt-bearer":
                problem = self._assertion_problem(form.get("assertion", ""))
                account = "sub" not in _claims(form.get("assertion", ""))
            case "refresh_token":
                problem, account = self._refresh_problem(form), False
            case "authorization_code":
                consent = self._consents.pop(form.get("code", ""), None)
                problem, account = self._code_problem(form, consent), False
                if consent and not problem:
                    self.refresh_token = f"1//sandbox-{self._random.getrandbits(128):032x}"
                    granted = {"refresh_token": self.refresh_token, "scope": consent.scope}
            case _:
                problem, account = ("unsupported_grant_type", "Invalid grant_type"), False
        if problem:
            error, description = problem
            status = 401 if error == "invalid_client" else 400
            return json_response({"error": error, "error_description": description}, status)
        text = f"ya29.sandbox-{self._random.getrandbits(128):032x}"
        self._tokens[text] = _Token(time.time() + self.token_seconds, account)
        token = {"access_token": text, "expires_in": self.token_seconds, "token_type": "Bearer"}
        return json_response(token | granted)

    def _client_problem(self, form: dict[str, str]) -> tuple[str, str] | None:
        known = self.oauth_credentials()
        if any(form.get(name) != known[name] for name in ("client_id", "client_secret")):
            return "invalid_client", "The OAuth client was not found."
        return None

    def _code_problem(self, form: dict[str, str], consent: _Consent | None) -> tuple[str, str] | None:
        """What is wrong with a code; it serves once, for the address and the secret it was made for."""
        if problem := self._client_problem(form):
            return problem
        if consent is None:
            return "invalid_grant", "Malformed auth code."
        if form.get("redirect_uri") != consent.redirect_uri:
            return "redirect_uri_mismatch", "Bad Request"
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != consent.challenge.rstrip("="):
            return "invalid_grant", "Invalid code verifier."
        return None

    def _refresh_problem(self, form: dict[str, str]) -> tuple[str, str] | None:
        if problem := self._client_problem(form):
            return problem
        if not self.refresh_token or form.get("refresh_token") != self.refresh_token:
            return "invalid_grant", "Token has been expired or revoked."
        return None

    def _assertion_problem(self, assertion: str) -> tuple[str, str] | None:
        """What is wrong with a signed assertion (RFC 7523): signature, issuer, audience or time."""
        claims = _claims(assertion)
        signed, _, signature = assertion.rpartition(".")
        try:
            _key().public_key().verify(
                _unbase64(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except (InvalidSignature, ValueError):
            return "invalid_grant", "Invalid JWT Signature."
        key = self.service_account_key()
        if claims.get("iss") != key["client_email"]:
            return "invalid_grant", "Invalid grant: account not found"
        if claims.get("aud") != key["token_uri"]:
            return "invalid_grant", "Invalid JWT: Failed audience check"
        if not claims.get("iat", 0) - 300 <= time.time() < claims.get("exp", 0):
            return (
                "invalid_grant",
                "Invalid JWT: Token must be a short-lived token and in a reasonable timeframe",
            )
        return None

    # Metadata.

    @route("GET", "/drive/v2/about")
    def about(self, request: Request) -> Response:
        account = self._token(request).service_account
        none = account and not self.service_account_quota
        total = 0 if none else 2**63 - 1 if self.quota_bytes is None else self.quota_bytes
        return json_response(
            {
                "kind": "drive#about",
                "name": "lse@sandbox" if account else "Ada Sandbox",
                "user": {
                    "emailAddress": "lse@sandbox.iam.gserviceaccount.com" if account else "ada@example.com"
                },
                "quotaType": "UNLIMITED" if self.quota_bytes is None and not none else "LIMITED",
                "quotaBytesTotal": str(total),
                "quotaBytesUsed": str(self._used()),
                "rootFolderId": self.root_id,
            }
        )

    @route("GET", "/drive/v2/files")
    def list_files(self, request: Request) -> Response:
        """One page of the files that `q` finds; as documented, it may be short or empty before the end."""
        request.query |= parse_qs(request.body.decode()) if request.body else {}
        size, start = _number(request.arg("maxResults", "100")), _number(request.arg("pageToken", "0"))
        if not 1 <= size <= PAGE_MAXIMUM:
            raise Refused(_error(400, "invalid", "Invalid value for maxResults"))
        lag = float(request.faults.get("listing_lag", 0))
        if "empty_page" in request.faults:
            return json_response({"kind": "drive#fileList", "items": [], "nextPageToken": str(start)})
        try:
            test = parse_query(request.arg("q"))
            visible = [self._resource(i) for i in self._listed(request) if i.created <= time.time() - lag]
            found = sort_resources([r for r in visible if test(r)], request.arg("orderBy"))
            end = start + min(size, int(request.faults.get("short_page", size)))
            page: Resource = {"kind": "drive#fileList", "items": found[start:end]}
            if end < len(found):
                page["nextPageToken"] = str(end)
            return json_response(select_fields(page, request.arg("fields")))
        except QueryError as error:
            raise Refused(_error(400, "invalid", f"Invalid Value: {error}")) from error

    @route("GET", "/drive/v2/files/generateIds")
    def generate_ids(self, request: Request) -> Response:
        count = _number(request.arg("maxResults", "10"))
        if not 1 <= count <= PAGE_MAXIMUM:
            raise Refused(_error(400, "invalid", "Invalid value for maxResults"))
        ids = [self._make_id() for _ in range(count)]
        self._issued.update(ids)
        return json_response({"kind": "drive#generatedIds", "space": "drive", "ids": ids})

    @route("POST", "/drive/v2/files")
    def insert_file(self, request: Request) -> Response:
        metadata = request.json()
        return self._shown(self._insert(self._new_id(metadata), metadata), request)

    @route("GET", "/drive/v2/files/{id}")
    def read_file(self, request: Request) -> Response:
        item = self._known(request.params["id"])
        if request.arg("alt") == "media":
            return self._download(item, request)
        self._must_support_shared_drives(item, request)
        return self._shown(item, request)

    @route("PATCH", "/drive/v2/files/{id}", "update_file")
    @route("PUT", "/drive/v2/files/{id}", "update_file")
    def update_file(self, request: Request) -> Response:
        item = self._known(request.params["id"])
        self._must_support_shared_drives(item, request)
        self._change(item, request.json())
        added, removed = (request.arg(name).split(",") for name in ("addParents", "removeParents"))
        item.parents = [p for p in item.parents if p not in removed] + [self._known(p).id for p in added if p]
        return self._shown(item, request)

    @route("POST", "/drive/v2/files/{id}/trash", "trash_file")
    def trash_file(self, request: Request) -> Response:
        return self._set_trashed(request, trashed=True)

    @route("POST", "/drive/v2/files/{id}/untrash", "untrash_file")
    def untrash_file(self, request: Request) -> Response:
        return self._set_trashed(request, trashed=False)

    def _set_trashed(self, request: Request, *, trashed: bool) -> Response:
        item = self._known(request.params["id"])
        self._must_support_shared_drives(item, request)
        item.trashed = trashed
        return self._shown(item, request)

    @route("DELETE", "/drive/v2/files/{id}")
    def delete_file(self, request: Request) -> Response:
        """Remove a file for good, or a folder with everything below it."""
        self._delete(self._known(request.params["id"]))
        return Response(204)

    def _delete(self, item: Item) -> None:
        doomed = [item]
        for item in doomed:
            doomed += [child for child in self._items.values() if item.id in child.parents]
            self._items.pop(item.id, None)

    @route("GET", "/drive/v2/files/{id}/revisions")
    def list_revisions(self, request: Request) -> Response:
        item = self._known(request.params["id"])
        items = [_revision_resource(item, revision) for revision in item.revisions]
        return json_response({"kind": "drive#revisionList", "items": items})

    @route("GET", "/drive/v2/files/{id}/revisions/{revision}")
    def read_revision(self, request: Request) -> Response:
        item = self._known(request.params["id"])
        for revision in item.revisions:
            if revision.id == request.params["revision"]:
                if request.arg("alt") == "media":
                    return Response(200, {"Content-Type": item.mime}, revision.content)
                return json_response(_revision_resource(item, revision))
        raise Refused(_error(404, "notFound", f"Revision not found: {request.params['revision']}"))

    # Content.

    @route("POST", "/upload/drive/v2/files", "upload_start")
    def start_upload(self, request: Request) -> Response:
        metadata = request.json() if request.body else {}
        return self._open_session(request, _Session(self._new_id(metadata), metadata, False, None))

    @route("PUT", "/upload/drive/v2/files/{id}", "upload_update")
    def start_update(self, request: Request) -> Response:
        item = self._known(request.params["id"])
        self._must_support_shared_drives(item, request)
        return self._open_session(
            request, _Session(item.id, request.json() if request.body else {}, True, None)
        )

    @route("PUT", "/upload/drive/v2/files", "upload_chunk")
    def receive_chunk(self, request: Request) -> Response:
        """A chunk, or the question how much has arrived; 308 until the last byte is there."""
        upload_id = request.arg("upload_id")
        if "session_gone" in request.faults:
            self._sessions.pop(upload_id, None)
            raise Refused(
                _error(int(request.faults["session_gone"]), "notFound", "Upload session not found.")
            )
        session = self._sessions.get(upload_id)
        if session is None:
            raise Refused(_error(404, "notFound", "Upload session not found."))
        if not session.finished:
            self._receive(session, request)
            if session.total is None or len(session.received) < session.total:
                last = len(session.received) - 1
                return Response(308, {"Range": f"bytes=0-{last}"} if last >= 0 else {})
            self._finish(session, request)
        return self._shown(self._known(session.target), request)

    def _open_session(self, request: Request, session: _Session) -> Response:
        if request.arg("uploadType") != "resumable":
            raise Refused(_error(400, "badRequest", "Invalid upload type."))
        length = request.headers.get("X-Upload-Content-Length")
        session.total = None if length is None else int(length)
        session.metadata.setdefault("mimeType", request.headers.get("X-Upload-Content-Type"))
        self._check_quota(request, session)
        upload_id = f"sandbox-{self._random.getrandbits(128):032x}"
        self._sessions[upload_id] = session
        location = f"{self.url}/upload/drive/v2/files?uploadType=resumable&upload_id={upload_id}"
        return Response(200, {"Location": location, "X-GUploader-UploadID": upload_id})

    def _check_quota(self, request: Request, session: _Session) -> None:
        for parent in _parent_ids(session.metadata):
            self._known(parent)
        shared = any(self._known(p).drive_id for p in _parent_ids(session.metadata)) or (
            session.update and self._known(session.target).drive_id
        )
        if self._token(request).service_account and not self.service_account_quota and not shared:
            text = (
                "Service Accounts do not have storage quota. Leverage shared drives, or use OAuth delegation."
            )
            raise Refused(_error(403, "storageQuotaExceeded", text))
        full = self.quota_bytes is not None and self._used() + (session.total or 0) > self.quota_bytes
        if full or "quota" in request.faults:
            raise Refused(self.error_response(403, "storageQuotaExceeded"))

    def _receive(self, session: _Session, request: Request) -> None:
        """Append what is new in the chunk; bytes that arrived before are skipped."""
        text = request.headers.get("Content-Range")
        if text is None:
            session.total, start = len(request.body), 0
        elif found := re.fullmatch(r"bytes \*/(\d+|\*)", text):
            session.total = session.total if found[1] == "*" else int(found[1])
            return
        else:
            start = self._span(session, text, len(request.body))
        fresh = request.body[len(session.received) - start :]
        session.received += fresh[: int(request.faults.get("short_persist", len(fresh)))]

    def _span(self, session: _Session, text: str, length: int) -> int:
        """Where the chunk that a `Content-Range` header describes begins; a 400 when it does not fit."""
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", text)
        if found is None:
            raise Refused(_error(400, "badRequest", "Failed to parse Content-Range header."))
        start, end = int(found[1]), int(found[2])
        session.total = session.total if found[3] == "*" else int(found[3])
        last = session.total is not None and end + 1 == session.total
        if (
            end - start + 1 != length
            or start > len(session.received)
            or (session.total is not None and end >= session.total)
            or not (last or (end + 1 - start) % CHUNK_UNIT == 0)
        ):
            raise Refused(_error(400, "badRequest", "Invalid request. The chunk does not fit."))
        return start

    def _finish(self, session: _Session, request: Request) -> None:
        if session.update:
            item = self._known(session.target)
            self._change(item, session.metadata)
        else:
            self._free_id(session.target)
            item = self._insert(session.target, session.metadata)
        self._store(item, bytes(session.received), request.faults)
        session.finished = True
        session.received = bytearray()

    def _store(self, item: Item, content: bytes, faults: dict[str, Any]) -> None:
        sent_md5 = _md5(content)
        if "corrupt_stored" in faults:
            content = _damaged(content)
        item.modified = time.time()
        sha256 = hashlib.sha256(content).hexdigest()
        revision = Revision(self._make_id(), content, item.modified, sent_md5, _md5(content), sha256)
        item.revisions.append(revision)

    def _download(self, item: Item, request: Request) -> Response:
        if item.mime == FOLDER:
            raise Refused(self.error_response(403, "fileNotDownloadable"))
        if "abuse" in request.faults and request.arg("acknowledgeAbuse") != "true":
            raise Refused(self.error_response(403, "cannotDownloadAbusiveFile"))
        content = _damaged(item.content) if "corrupt_download" in request.faults else item.content
        wanted = request.headers.get("Range")
        if wanted is None or "ignore_range" in request.faults:
            return Response(200, {"Content-Type": item.mime}, content)
        start, end = _range(wanted, len(content))
        headers = {"Content-Type": item.mime, "Content-Range": f"bytes {start}-{end - 1}/{len(content)}"}
        return Response(206, headers, content[start:end])

    # Items.

    def _make_id(self) -> str:
        return "1" + base64.urlsafe_b64encode(self._random.randbytes(24)).decode()

    def _add_root(self, name: str, *, shared: bool = False) -> str:
        item = Item(self._make_id(), name, FOLDER, [], time.time(), time.time())
        item.drive_id = item.id if shared else ""
        self._items[item.id] = item
        return item.id

    def _known(self, file_id: str) -> Item:
        item = self._items.get(self.root_id if file_id == "root" else file_id)
        if item is None:
            raise Refused(_error(404, "notFound", f"File not found: {file_id}"))
        return item

    def _new_id(self, metadata: dict[str, Any]) -> str:
        """The id that the client chose from `generateIds`, when no file has it yet, or one of our own."""
        if "id" not in metadata:
            return self._make_id()
        if metadata["id"] not in self._issued:
            raise Refused(_error(400, "invalid", "The provided file ID is not usable."))
        return self._free_id(str(metadata["id"]))

    def _free_id(self, file_id: str) -> str:
        if file_id in self._items:
            raise Refused(self.error_response(409, "fileIdInUse"))
        return file_id

    def _insert(self, file_id: str, metadata: dict[str, Any]) -> Item:
        parents = [self._known(p) for p in _parent_ids(metadata) or ["root"]]
        now = time.time()
        mime = metadata.get("mimeType") or "application/octet-stream"
        item = Item(file_id, metadata.get("title", "Untitled"), mime, [p.id for p in parents], now, now)
        item.drive_id = parents[0].drive_id
        self._change(item, {"properties": metadata.get("properties", [])})
        self._items[file_id] = item
        return item

    def _change(self, item: Item, metadata: dict[str, Any]) -> None:
        item.title = metadata.get("title", item.title)
        item.trashed = metadata.get("labels", {}).get("trashed", item.trashed)
        if parents := _parent_ids(metadata):
            item.parents = [self._known(p).id for p in parents]
        for entry in metadata.get("properties", []):
            key = (entry["key"], entry.get("visibility", "PRIVATE"))
            if entry.get("value") is None:
                item.properties.pop(key, None)
            else:
                item.properties[key] = str(entry["value"])
        item.modified = time.time()

    def _used(self) -> int:
        return sum(len(revision.content) for item in self._items.values() for revision in item.revisions)

    def _in_trash(self, item: Item) -> bool:
        return item.trashed or any(self._in_trash(self._items[p]) for p in item.parents if p in self._items)

    def _path(self, item: Item) -> str:
        parent = self._items.get(item.parents[0])
        return f"{self._path(parent)}/{item.title}" if parent and parent.parents else item.title

    def _listed(self, request: Request) -> Iterator[Item]:
        """Everything that has a parent; shared drives only for clients that ask for them."""
        everywhere = request.arg("includeItemsFromAllDrives") == "true"
        drive = request.arg("driveId")
        return (
            item
            for item in self._items.values()
            if item.parents and (everywhere or not item.drive_id) and drive in ("", item.drive_id)
        )

    def _must_support_shared_drives(self, item: Item, request: Request) -> None:
        if item.drive_id and request.arg("supportsAllDrives") != "true":
            raise Refused(_error(404, "notFound", f"File not found: {item.id}"))

    def _shown(self, item: Item, request: Request) -> Response:
        resource = self._resource(item)
        if "wrong_md5" in request.faults:
            resource["md5Checksum"] = _md5(b"wrong")
        if "no_md5" in request.faults:
            resource.pop("md5Checksum", None)
        try:
            return json_response(select_fields(resource, request.arg("fields")))
        except QueryError as error:
            raise Refused(_error(400, "invalidParameter", str(error))) from error

    def _resource(self, item: Item) -> Resource:
        link = f"{self.url}/drive/v2/files/{item.id}"
        resource: Resource = {
            "kind": "drive#file",
            "id": item.id,
            "etag": f'"{item.id}/{item.modified}"',
            "selfLink": link,
            "alternateLink": f"https://drive.google.com/file/d/{item.id}/view",
            "title": item.title,
            "mimeType": item.mime,
            "createdDate": _stamp(item.created),
            "modifiedDate": _stamp(item.modified),
            "labels": {"trashed": self._in_trash(item), "starred": False},
            "explicitlyTrashed": item.trashed,
            "parents": [
                {"kind": "drive#parentReference", "id": p, "isRoot": p == self.root_id} for p in item.parents
            ],
            "properties": [
                {"kind": "drive#property", "key": key, "value": value, "visibility": visibility}
                for (key, visibility), value in item.properties.items()
            ],
            "editable": item.writable,
            "capabilities": {"canEdit": item.writable, "canAddChildren": item.writable},
        }
        if item.drive_id:
            resource["driveId"] = item.drive_id
        if item.revisions:
            head = item.revisions[-1]
            resource |= {
                "fileSize": str(len(item.content)),
                "quotaBytesUsed": str(len(item.content)),
                "md5Checksum": head.md5,
                "sha256Checksum": head.sha256,
                "downloadUrl": f"{link}?alt=media",
                "originalFilename": item.title,
                "headRevisionId": head.id,
            }
        return resource


@cache
def _key() -> rsa.RSAPrivateKey:
    """The key of the service account, made once per process since that takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _error(status: int, reason: str, message: str) -> Response:
    """An error in the form of Google's JSON APIs."""
    detail = {
        "domain": "usageLimits" if "xceeded" in reason else "global",
        "reason": reason,
        "message": message,
    }
    return json_response({"error": {"errors": [detail], "code": status, "message": message}}, status)


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _damaged(content: bytes) -> bytes:
    """`content` with one byte changed in the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :] if content else b"\0"


def _stamp(seconds: float) -> str:
    """RFC 3339 in UTC with milliseconds, as Drive writes times."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _number(text: str) -> int:
    if not text.isdecimal():
        raise Refused(_error(400, "invalid", "Invalid Value"))
    return int(text)


def _parent_ids(metadata: dict[str, Any]) -> list[str]:
    return [parent["id"] for parent in metadata.get("parents", [])]


def _revision_resource(item: Item, revision: Revision) -> Resource:
    return {
        "kind": "drive#revision",
        "id": revision.id,
        "mimeType": item.mime,
        "modifiedDate": _stamp(revision.modified),
        "fileSize": str(len(revision.content)),
        "md5Checksum": revision.md5,
        "originalFilename": item.title,
        "pinned": False,
    }


def _range(text: str, size: int) -> tuple[int, int]:
    """The half-open span of a `Range` header (RFC 9110, section 14.1.2), or a 416 when it holds no byte."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", text)
    if found and (found[1] or found[2]):
        start = int(found[1]) if found[1] else max(0, size - int(found[2]))
        end = min(size, int(found[2]) + 1) if found[1] and found[2] else size
        if start < end:
            return start, end
    raise Refused(Response(416, {"Content-Range": f"bytes */{size}"}))


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _claims(assertion: str) -> dict[str, Any]:
    """The payload of a JSON web token, unchecked; empty when it is none."""
    try:
        value = json.loads(_unbase64(assertion.split(".")[1]))
    except (IndexError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
