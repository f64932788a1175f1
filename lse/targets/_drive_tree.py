"""Folders and files of Drive by path. Drive has no paths, and any number of files may share a title."""

import logging
from collections.abc import Callable

from lse.errors import ConfigurationError, TemporaryError
from lse.targets._drive_client import Client, Resource
from lse.targets._drive_errors import ConflictError, NotFoundError
from lse.targets._notes import Notes

log = logging.getLogger(__name__)

_GOOGLE_TYPES = "application/vnd.google-apps."
FOLDER = f"{_GOOGLE_TYPES}folder"
FIELDS = (
    "id,title,mimeType,fileSize,md5Checksum,createdDate,alternateLink,"
    "parents(id,isRoot),labels(trashed),properties(key,value),driveId,capabilities(canAddChildren)"
)
PAGE = 1000
"""The most that one page of a list may hold (Drive's reference)."""


class Tree:
    """The folder of archives and what is below it.

    Lists may lag behind by minutes, so an id that was noted here before is asked for first. Ids are
    chosen and noted before anything is inserted: an insert whose answer got lost can be repeated, since
    Drive answers 409 to a second one.
    """

    def __init__(self, client: Client, root: str, notes: Notes, home: str = "root") -> None:
        """`root` is the title of a folder in `home`, which is the id of one, or `id:<folder id>`."""
        self._client = client
        self._root = root
        self._home = home
        self._notes = notes
        self._folders: dict[str, str] = {}

    def get(self, file_id: str) -> Resource | None:
        """The resource with this id, also from the trash; None when there is none."""
        try:
            return self._client.call(
                lambda api: api.files.get(fileId=file_id, fields=FIELDS, supportsAllDrives=True)
            )
        except NotFoundError:
            return None

    def root(self) -> Resource | None:
        """The folder of archives; None when it is yet to be made.

        Raises `ConfigurationError` when `id:…` names no usable folder.
        """
        if not self._root.startswith("id:"):
            return self._existing("/", self._root, self._home, is_folder)
        found = self.get(self._root.removeprefix("id:"))
        if found is None or not is_folder(found):
            raise ConfigurationError(
                f"LSE_DRIVE_FOLDER={self._root} is no folder that {self._client.account} can see.",
                hint="Share the folder with it. Under the scope drive.file it sees only what lse made: "
                "type `lse drive init`, or set LSE_DRIVE_SCOPE=https://www.googleapis.com/auth/drive.",
            )
        if found["labels"]["trashed"]:
            raise ConfigurationError(
                f"LSE_DRIVE_FOLDER={self._root} lies in the trash.",
                hint="Take it out of the trash in Drive, or make another one: `lse drive init`.",
            )
        return found

    def folder(self, parts: tuple[str, ...]) -> str | None:
        """The id of the folder at `parts` below the folder of archives, if it exists."""
        return self._folder_id("/".join(parts), create=False)

    def make_folder(self, parts: tuple[str, ...]) -> str:
        """The id of that folder, made with those above it when missing, moved or trashed."""
        # One creator per machine at a time: Drive would happily make a twin.
        with self._notes.lock():
            # Drive stores files in a folder that lies in the trash, where nobody would find them.
            self._folders.clear()
            made = self._folder_id("/".join(parts), create=True)
        if made is None:
            raise TemporaryError("The Drive folder vanished while it was made.")
        return made

    def locate(self, path: str, parent: str) -> Resource | None:
        """The file at `path` in the folder `parent`: the one noted, else the oldest of its title."""
        return self._existing(path, path.rpartition("/")[2], parent, is_file)

    def namesakes(self, path: str, parent: str) -> list[Resource]:
        """All files of that title in the folder `parent`, oldest first."""
        return [f for f in self.children(parent, path.rpartition("/")[2]) if is_file(f)]

    def trash(self, file_id: str) -> None:
        """Move a file or folder to Drive's trash."""
        self._client.call(lambda api: api.files.trash(fileId=file_id, supportsAllDrives=True))

    def children(self, parent: str, title: str | None = None) -> list[Resource]:
        """What is in a folder outside the trash, exactly of that title if given, oldest first."""
        query = f"'{parent}' in parents and trashed = false"
        if title is not None:
            query += f" and title = '{_escaped(title)}'"
        found = self._client.policy.run(lambda: self._pages(query))
        # Drive compares titles without regard to case.
        return sorted(
            (f for f in found if title in (None, f["title"])), key=lambda f: (f["createdDate"], f["id"])
        )

    def chosen_id(self, path: str) -> str:
        """The id for what is to be inserted at `path`, noted before anything is sent.

        An insert that then meets a `ConflictError` arrived earlier.
        """
        noted = self._notes.read(path).get("id")
        if noted is None:
            ids = self._client.call(lambda api: api.files.generateIds(maxResults=1))["ids"]
            noted = str(ids[0])
            self._notes.update(path, id=noted)
        return noted

    def _pages(self, query: str) -> list[Resource]:
        """All pages of one list. A page may be empty before the end, so only the token counts."""
        found: list[Resource] = []
        tokens: list[str | None] = [None]
        while True:
            page = self._client.call_once(
                lambda api: api.files.list(
                    q=query,
                    maxResults=PAGE,
                    pageToken=tokens[-1],
                    fields=f"kind,nextPageToken,items({FIELDS})",
                    supportsAllDrives=True,
                    includeItemsFromAllDrives=True,
                )
            )
            if page.get("kind") != "drive#fileList":
                raise TemporaryError("Google Drive answered something else than a list.")
            found += page.get("items", [])
            token = page.get("nextPageToken")
            if token is None:
                return found
            if token in tokens:
                raise TemporaryError("Google Drive repeated a page of a list.")
            tokens.append(token)

    def _folder_id(self, path: str, *, create: bool) -> str | None:
        if path in self._folders:
            return self._folders[path]
        if path == "" and self._root.startswith("id:"):
            root = self.root()
            found = str(root["id"]) if root else None
        else:
            above, _, title = path.rpartition("/")
            parent = self._home if path == "" else self._folder_id(above, create=create)
            found = parent and self._child_folder(f"{path}/", title or self._root, parent, create=create)
        if found:
            self._folders[path] = found
        return found

    def _child_folder(self, note: str, title: str, parent: str, *, create: bool) -> str | None:
        found = self._existing(note, title, parent, is_folder)
        if found is None and create:
            found = self._insert_folder(note, title, parent)
        return str(found["id"]) if found else None

    def _insert_folder(self, note: str, title: str, parent: str) -> Resource | None:
        body = {"title": title, "mimeType": FOLDER, "parents": [{"id": parent}]}
        new_id = self.chosen_id(note)
        try:
            self._client.call(
                lambda api: api.files.insert(body=body | {"id": new_id}, supportsAllDrives=True)
            )
        except ConflictError:
            log.debug("The folder %s arrived earlier.", title)
        oldest = next((f for f in self.children(parent, title) if is_folder(f)), None)
        if oldest is None or oldest["id"] == new_id:
            return self.get(new_id)
        # Another machine made one at the same time; both see the same oldest one.
        self.trash(new_id)
        self._notes.update(note, id=oldest["id"])
        return oldest

    def _existing(
        self, note: str, title: str, parent: str, kind: Callable[[Resource], bool]
    ) -> Resource | None:
        """The one that is noted and still in its place, else the oldest that a list shows."""
        noted = self._notes.read(note).get("id")
        if noted is not None and (known := self.get(noted)) is not None:
            if _is_in_place(known, title, parent):
                return known
            # Moved, renamed or trashed by somebody: what is done next needs an id of its own.
            self._notes.forget(note)
        found = [f for f in self.children(parent, title) if kind(f)]
        if not found:
            return None
        self._notes.update(note, id=found[0]["id"])
        return found[0]


def is_folder(found: Resource) -> bool:
    """Whether this resource is a folder."""
    return bool(found["mimeType"] == FOLDER)


def is_file(found: Resource) -> bool:
    """Whether this resource has content of its own, unlike folders and Google's own documents."""
    return not found["mimeType"].startswith(_GOOGLE_TYPES)


def _is_in_place(found: Resource, title: str, parent: str) -> bool:
    places = {p["id"] for p in found["parents"]} | {"root" for p in found["parents"] if p["isRoot"]}
    return found["title"] == title and parent in places and not found["labels"]["trashed"]


def _escaped(title: str) -> str:
    """`title` inside a quoted string of Drive's query language."""
    return title.replace("\\", "\\\\").replace("'", "\\'")
