"""LangSmith as a source, through whichever of its two read APIs the server offers."""

import difflib
import json
import logging
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from lse.archive.identity import expiry_of, identify_run
from lse.archive.jsontext import MalformedJson, elements, fields
from lse.archive.links import Link, links_of
from lse.archive.trace_file import single_line
from lse.errors import TemporaryError, UsageError
from lse.langsmith.http import Call, LangSmithHttp, NotServed, Patience, Rates, TooMuch
from lse.langsmith.limits import LIMITS
from lse.models import RawRun, StoredFile
from lse.settings import Settings
from lse.sources import Cost, Counts, Page, Project, Window
from lse.sources._download import Downloads, FileRefused, LinkExpired
from lse.sources._read_apis import V1, V2, ReadApi, late_from

logger = logging.getLogger(__name__)

_GENERAL = LIMITS["general"]
_ASKED_AGAIN = 3
_COUNTING = 5  # runs and traces, before the walk and after it; then the runs that started in the window
_PAGE = 100  # largest page of projects and of feedback, and most ids in one question
_RUNS_PER_FEEDBACK_CALL = 50  # ids travel in the URL, 41 bytes each; proxies refuse URLs from 4 to 8 kB on


class LangSmithSource:
    """Projects, runs and feedback of one LangSmith workspace, as raw texts."""

    def __init__(
        self, settings: Settings, patience: Patience | None = None, rates: Rates | None = None
    ) -> None:
        self._http = LangSmithHttp(settings, patience, rates)
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

    @property
    def waited(self) -> float:
        return self._http.waited

    @property
    def requests(self) -> int:
        return self._http.requests

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
            hint=f"Of its {len(names)} projects, the nearest: {', '.join(similar)}."
            if similar
            else "The workspace of this key has no projects.",
        )

    def page(self, window: Window, cursor: str | None) -> Page:
        question = _PageQuestion(self._http, self.api, window, cursor)
        return self._http.retry(question.ask)

    def counts(self, window: Window) -> Counts | None:
        try:
            runs, feedback = self._count(window, roots=False)
            return Counts(runs, self._count(window, roots=True)[0], feedback)
        except NotServed:
            return None

    def count_runs(self, window: Window) -> int | None:
        try:
            return self._count(window, roots=False)[0]
        except NotServed:
            return None

    def existing(self, project: Project, run_ids: Collection[UUID]) -> set[UUID]:
        ids = sorted(run_ids)
        asked = (ids[first : first + _PAGE] for first in range(0, len(ids), _PAGE))
        return {run.id for some in asked for run in self._some(project, some)}

    def cost(self, window: Window, counts: Counts, lanes: int) -> Cost:
        pages = max(1, math.ceil(counts.runs / self.api.page_size)) + lanes - 1
        feedback = math.ceil(counts.runs / _RUNS_PER_FEEDBACK_CALL)
        rate = self.api.rate(replace(window, runs_until=late_from(window)))
        seconds = pages * rate.seconds / rate.calls
        seconds += (_COUNTING + feedback) * _GENERAL.seconds / _GENERAL.calls
        return Cost(pages, _COUNTING, feedback, seconds)

    def first_expiry(self, window: Window) -> datetime | None:
        api, body = self.api, self.api.query_expiry(window)
        if body is None:
            return None
        call = Call("POST", api.path, api.rate(window), body)
        texts = self._http.call(call, lambda answer: _texts(answer, api))
        return min(filter(None, map(expiry_of, texts)), default=None)

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
        links = (found for run in self._some(project, [link.run_id]) for found in links_of(run))
        return next((found for found in links if found.name == link.name), link)

    def _some(self, project: Project, run_ids: Sequence[UUID]) -> list[RawRun]:
        """The runs with these ids, at most 100, without their payloads."""
        api = self.api
        rate = api.rate(Window(project, datetime.now(UTC), datetime.now(UTC)))
        call = Call("POST", api.path, rate, api.query_some(project, run_ids))
        return list(map(identify_run, self._http.call(call, lambda answer: _texts(answer, api))))

    def _count(self, window: Window, *, roots: bool) -> tuple[int, int | None]:
        body = V1.count(window, roots=roots)
        return self._http.call(Call("POST", "/runs/stats", _GENERAL, body), _counted)

    def _listed(self, path: str, query: dict[str, Any]) -> Iterator[bytes]:
        """All items of an offset-paged list, page by page."""
        offset = 0
        while True:
            page = {**query, "limit": _PAGE, "offset": offset}
            items = self._http.call(Call("GET", path, _GENERAL, query=page), _items)
            yield from items
            offset += len(items)
            if len(items) < _PAGE:
                return

    def _ask_server(self) -> ReadApi:
        flags = self._info().get("instance_flags")
        serves_v1 = flags.get("ch_query_enabled", True) if isinstance(flags, dict) else True
        return V1 if serves_v1 and self._answers_v1() else V2

    def _answers_v1(self) -> bool:
        """Whether v1 still answers; a server may have removed it whatever its flags say."""
        nothing = V1.query_some(Project("", ""), [UUID(int=0)])
        rate = LIMITS["v1_recent"]
        try:
            self._http.call(Call("POST", V1.path, rate, nothing), lambda answer: _texts(answer, V1))
        except NotServed:
            return False
        return True

    def _info(self) -> dict[str, Any]:
        return self._http.call(Call("GET", "/info", _GENERAL), _object)


def open(
    settings: Settings, rates: Rates | None = None, call_seconds: float | None = None
) -> LangSmithSource:
    """The LangSmith workspace that the settings' key reads; a call takes at most `call_seconds`."""
    hasty = call_seconds and Patience(
        connect=call_seconds, read=call_seconds, body=call_seconds, total=call_seconds, rest=0
    )
    return LangSmithSource(settings, hasty or None, rates)


class _PageQuestion:
    """One page, asked for with fewer runs each time the answer may have been too large."""

    def __init__(self, http: LangSmithHttp, api: ReadApi, window: Window, cursor: str | None) -> None:
        self._http = http
        self._api = api
        self._window = window
        self._cursor = cursor
        self._strikes = 0
        self._cut_off = 0

    def ask(self) -> Page:
        """Ask once. From the second failure that its size may explain, each one halves the page."""
        size = max(1, self._api.page_size >> max(0, self._strikes - 1))
        body = self._api.query(self._window, self._cursor, size)
        rate = self._api.rate(self._window)
        try:
            return self._http.ask(
                Call("POST", self._api.path, rate, body), lambda answer: self._read(answer, size)
            )
        except TooMuch as error:
            self._strikes += error.weight
            raise

    def _read(self, answer: bytes, size: int) -> Page:
        """The page in an answer. `{}`, `null`, HTML, half an answer, a cursor to nowhere are faults."""
        parts = _parts(answer, self._api)
        texts = _runs(parts, self._api)
        try:
            cursor = self._api.cursor(parts)
        except (KeyError, ValueError):
            raise TemporaryError("LangSmith's answer holds no cursor that can be read.") from None
        if cursor is not None and (cursor == self._cursor or not texts):
            raise TemporaryError("LangSmith sent the same cursor again, or a cursor without runs.")
        if cursor is None and len(texts) >= size:
            return self._doubtful_end(texts)
        return Page(texts, cursor)

    def _doubtful_end(self, texts: tuple[bytes, ...]) -> Page:
        """A full page without a cursor is asked for again; then it is an end that only a count can prove."""
        self._cut_off += 1
        if self._cut_off < _ASKED_AGAIN:
            raise TemporaryError("LangSmith sent a full page without the cursor of the next one.")
        return Page(texts, None, doubtful=True)


def _texts(answer: bytes, api: ReadApi) -> tuple[bytes, ...]:
    return _runs(_parts(answer, api), api)


def _parts(answer: bytes, api: ReadApi) -> dict[str, bytes]:
    try:
        return fields(answer)
    except MalformedJson:
        raise TemporaryError(f"LangSmith's answer to {api.path} is no JSON object.") from None


def _runs(parts: dict[str, bytes], api: ReadApi) -> tuple[bytes, ...]:
    try:
        return tuple(map(single_line, elements(parts[api.items])))
    except (MalformedJson, KeyError):
        raise TemporaryError(f"LangSmith's answer to {api.path} is no page of runs.") from None


def _items(answer: bytes) -> list[bytes]:
    try:
        return elements(answer)
    except MalformedJson:
        raise TemporaryError("LangSmith's answer is no list.") from None


def _project(text: bytes) -> Project:
    values = _object(text)
    if not all(isinstance(values.get(key), str) for key in ("id", "name")):
        raise TemporaryError("LangSmith's answer holds a project without id or name.")
    return Project(values["id"], values["name"])


def _counted(answer: bytes) -> tuple[int, int | None]:
    """How many runs the statistics are of, and how many records of feedback those have."""
    stats = _object(answer)
    if not isinstance(stats.get("run_count"), int):
        raise TemporaryError("LangSmith's statistics hold no count.")
    by_key = stats.get("feedback_stats", ...)
    return stats["run_count"], sum(_feedback_counts(by_key)) if by_key is not ... else None


def _feedback_counts(by_key: object) -> Iterator[int]:
    for stats in by_key.values() if isinstance(by_key, dict) else ():
        if isinstance(stats, dict) and isinstance(stats.get("n"), int):
            yield stats["n"]


def _object(answer: bytes) -> dict[str, Any]:
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise TemporaryError("LangSmith's answer is no JSON object.")
    return value
