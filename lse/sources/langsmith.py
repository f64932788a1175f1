"""LangSmith as a source, through whichever of its two read APIs the server offers."""

import difflib
import json
import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lse.archive.identity import identify_run
from lse.archive.jsontext import MalformedJson, elements, members
from lse.archive.links import Link, links_of
from lse.archive.trace_file import single_line
from lse.errors import TemporaryError, UsageError
from lse.models import StoredFile
from lse.settings import Settings
from lse.sources import Counts, Page, Project, Window
from lse.sources._download import Downloads, FileRefused, LinkExpired
from lse.sources._http import LangSmithHttp, NotServed, Patience, Rate
from lse.sources._read_apis import V1, V2, ReadApi

logger = logging.getLogger(__name__)

_GENERAL = Rate(2000, 60)  # LangSmith's usage limits: every path without a limit of its own
_PAGE = 100  # largest page of projects and of feedback
_RUNS_PER_FEEDBACK_CALL = 50  # ids travel in the URL, 41 bytes each; proxies refuse URLs from 4 to 8 kB on


class LangSmithSource:
    """Projects, runs and feedback of one LangSmith workspace, as raw texts."""

    def __init__(self, settings: Settings, patience: Patience | None = None) -> None:
        self._http = LangSmithHttp(settings, patience)
        self._downloads = Downloads(
            settings.langsmith_endpoint, settings.file_limit_mb * 1_000_000, patience or Patience()
        )
        self._endpoint = settings.langsmith_endpoint
        self._wanted = settings.langsmith_api
        self._chosen: ReadApi | None = None

    @property
    def api(self) -> ReadApi:
        """The read API in use. v1 returns more fields, so it is used for as long as the server runs it."""
        if self._chosen is None:
            wanted: dict[str, ReadApi] = {"v1": V1, "v2": V2}
            self._chosen = wanted.get(self._wanted) or self._ask_server()
        return self._chosen

    @property
    def walk_name(self) -> str:
        return f"langsmith {self.api.name}"

    def check(self) -> str:
        version = self._info().get("version", "unknown")
        next(self.projects(), None)
        return f"{self._endpoint} (version {version}, reading through {self.api.name})"

    def projects(self) -> Iterator[Project]:
        query = {"reference_free": "true"}  # experiments are sessions too, bound to a dataset
        yield from map(_project, self._listed("/sessions", query))

    def project(self, name: str) -> Project:
        for found in map(_project, self._listed("/sessions", {"name": name})):
            if found.name == name:
                return found
        names = [project.name for project in self.projects()]
        similar = difflib.get_close_matches(name, names, n=3) or sorted(names)[:5]
        raise UsageError(
            f"LangSmith has no project called {name!r}.",
            hint=f"It has: {', '.join(similar)}."
            if similar
            else "The workspace of this key has no projects.",
        )

    def page(self, window: Window, cursor: str | None) -> Page:
        api = self.api

        def read(answer: bytes) -> Page:
            return _page(answer, api, cursor)

        return self._http.call("POST", api.path, read, rate=api.rate(window), body=api.query(window, cursor))

    def counts(self, window: Window) -> Counts | None:
        try:
            return Counts(runs=self._count(window, roots=False), traces=self._count(window, roots=True))
        except NotServed:
            return None

    def feedback(self, run_ids: Iterable[str]) -> Iterator[bytes]:
        ids = list(run_ids)
        for first in range(0, len(ids), _RUNS_PER_FEEDBACK_CALL):
            query = {"run": ids[first : first + _RUNS_PER_FEEDBACK_CALL]}
            yield from map(single_line, self._listed("/feedback", query))

    def download(self, project: Project, link: Link, folder: Path) -> StoredFile | None:
        try:
            try:
                return self._http.retry(lambda: self._downloads.fetch(link, folder))
            except LinkExpired:
                fresh = self._fresh(project, link)
                return self._http.retry(lambda: self._downloads.fetch(fresh, folder))
        except (LinkExpired, FileRefused) as error:
            logger.warning("Not archived: %s", error)
            return None

    def close(self) -> None:
        self._downloads.close()
        self._http.close()

    def _fresh(self, project: Project, link: Link) -> Link:
        """The same link as the server gives it now; links are signed for a while only."""
        api = self.api
        rate = api.rate(Window(project, datetime.now(UTC), datetime.now(UTC)))
        body = api.query_one(project, link.run_id)
        texts = self._http.call("POST", api.path, lambda answer: _texts(answer, api), rate=rate, body=body)
        links = (found for text in texts for found in links_of(identify_run(text)))
        return next((found for found in links if found.name == link.name), link)

    def _count(self, window: Window, *, roots: bool) -> int:
        body = V1.count(window, roots=roots)
        return self._http.call("POST", "/runs/stats", _run_count, rate=_GENERAL, body=body)

    def _listed(self, path: str, query: dict[str, Any]) -> Iterator[bytes]:
        """All items of an offset-paged list, page by page."""
        offset = 0
        while True:
            page = {**query, "limit": _PAGE, "offset": offset}
            items = self._http.call("GET", path, _items, rate=_GENERAL, query=page)
            yield from items
            offset += len(items)
            if len(items) < _PAGE:
                return

    def _ask_server(self) -> ReadApi:
        flags = self._info().get("instance_flags")
        serves_v1 = flags.get("ch_query_enabled", True) if isinstance(flags, dict) else True
        return V1 if serves_v1 else V2

    def _info(self) -> dict[str, Any]:
        return self._http.call("GET", "/info", _object, rate=_GENERAL)


def open(settings: Settings) -> LangSmithSource:
    """The LangSmith workspace that the settings' key reads."""
    return LangSmithSource(settings)


def _page(answer: bytes, api: ReadApi, asked: str | None) -> Page:
    """The page in an answer. `{}`, `null`, HTML, half an answer or a cursor that leads nowhere is a fault.

    So is a full page without a cursor: LangSmith ends with a page that is not full, or empty.
    """
    texts = _texts(answer, api)
    try:
        page = Page(texts, api.cursor(dict(members(answer))))
    except (KeyError, ValueError):
        raise TemporaryError(f"LangSmith's answer to {api.path} holds no cursor that can be read.") from None
    if page.cursor is not None and (page.cursor == asked or not page.texts):
        raise TemporaryError("LangSmith sent the same cursor again, or a cursor without runs.")
    if page.cursor is None and len(page.texts) >= api.page_size:
        raise TemporaryError("LangSmith sent a full page without the cursor of the next one.")
    return page


def _texts(answer: bytes, api: ReadApi) -> tuple[bytes, ...]:
    try:
        return tuple(map(single_line, elements(dict(members(answer))[api.items])))
    except (MalformedJson, KeyError):
        raise TemporaryError(f"LangSmith's answer to {api.path} is no page of runs.") from None


def _items(answer: bytes) -> list[bytes]:
    try:
        return elements(answer)
    except MalformedJson:
        raise TemporaryError("LangSmith's answer is no list.") from None


def _project(text: bytes) -> Project:
    fields = _object(text)
    if not all(isinstance(fields.get(key), str) for key in ("id", "name")):
        raise TemporaryError("LangSmith's answer holds a project without id or name.")
    return Project(fields["id"], fields["name"])


def _run_count(answer: bytes) -> int:
    count = _object(answer).get("run_count")
    if not isinstance(count, int):
        raise TemporaryError("LangSmith's statistics hold no count.")
    return count


def _object(answer: bytes) -> dict[str, Any]:
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise TemporaryError("LangSmith's answer is no JSON object.")
    return value
