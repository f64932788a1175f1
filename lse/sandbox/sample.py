"""A sample application: a small agent that researches crypto projects, traced with the real LangSmith SDK.

It plans, searches notes, scrapes websites through a `zenrows_scraper` tool that sometimes fails, reads the
pages with a model and writes a report. No model and no website is asked: everything is drawn from a seed,
and the clock is moved by hand, so that the same seed gives the same ids, times and texts.
"""

import base64
import os
import random
import uuid
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from types import ModuleType
from typing import Any

import time_machine
from langsmith import Client, client, get_current_run_tree, traceable, utils
from langsmith.env import _runtime_env
from langsmith.run_helpers import LangSmithExtra, tracing_context
from langsmith.schemas import Attachment
from requests import HTTPError

SYMBOLS = ("BTC", "ETH", "SOL", "ADA", "DOT", "LINK", "UNI", "AAVE")
SITES = ("example.org", "docs.example.org", "blog.example.net", "status.example.com")
QUESTIONS = (
    "Who maintains the protocol and who pays them?",
    "What changed in the last release?",
    "Is the token supply capped, and where is that written?",
    "Which audits were published this year?",
)
FAILURES = (
    "403 Client Error: Forbidden",
    "422 Client Error: Unprocessable Entity",
    "429 Client Error: Too Many Requests",
    "504 Server Error: Gateway Timeout",
)
COMMENTS = ("Good sources.", "Missed the audit report.", 'Says "capped", the site says otherwise.', "")
REVIEWED = "token-review"
"""The project whose traces are reviews of tokens: they end in a decision, and people say what they think of
it. The recipes of `lse eval create-dataset` take them."""
AGREEMENT = 0.9
"""How often a person decides as the application did."""
FAILURE_RATE = 0.18
FLUSH_SECONDS = 30.0
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A PNG image of one pixel."""


@dataclass(slots=True)
class SampleDay:
    """What was written for one project on one UTC day; a trace counts for the day on which it began."""

    project: str
    day: date
    traces: int = 0
    runs: int = 0
    zenrows_failures: int = 0
    zenrows_failed_traces: int = 0
    failed_traces: int = 0
    pending_runs: int = 0
    feedback: int = 0
    attachments: int = 0
    crosses_midnight: int = 0


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """The counts of a whole sample, one entry per project and day, projects as given, days ascending."""

    days: tuple[SampleDay, ...]

    def total(self, name: str) -> int:
        """The sum of one count over all days."""
        return sum(getattr(day, name) for day in self.days)


@dataclass(frozen=True, slots=True)
class Opinion:
    """A person's opinion of a trace, to be written as feedback."""

    trace_id: str
    at: datetime
    decision: str | None
    """PASS or FAIL, as the application decided; None where it did not"""


def write_sample(
    endpoint: str,
    api_key: str,
    *,
    seed: int = 7,
    end: date,
    days: int = 3,
    traces_per_day: int = 12,
    projects: Sequence[str] = ("chat-research", "token-review"),
) -> SampleSummary:
    """Write traces and feedback into a LangSmith: `days` UTC days up to and with `end`, for each project.

    The last trace on the first day of the first project runs past midnight, and one run in the last trace
    of all stays pending. While this works the process sees a moved clock and none
    of the environment's LangSmith settings. Raises what the SDK raises when it cannot read the project.
    """
    written = []
    with _own_settings(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for position, project in enumerate(projects):
            rng = random.Random(f"{seed}/{project}")  # noqa: S311 - a sample, not a secret
            writer = Client(
                api_url=endpoint,
                api_key=api_key,
                hide_inputs=False,
                hide_outputs=False,
                tracing_sampling_rate=1.0,
                omit_traced_runtime_info=True,
            )
            try:
                for number in range(days):
                    day = SampleDay(project, end - timedelta(days=days - 1 - number))
                    first, last = (
                        position == number == 0,
                        position == len(projects) - 1 and number == days - 1,
                    )
                    _write_day(writer, rng, day, traces_per_day, late=first, pending=last)
                    written.append(day)
            finally:
                writer.flush(timeout=FLUSH_SECONDS)
                writer.close(timeout=FLUSH_SECONDS)
    return SampleSummary(tuple(written))


def _write_day(
    writer: Client, rng: random.Random, day: SampleDay, traces: int, *, late: bool, pending: bool
) -> None:
    """The traces of one project day, then the feedback on them."""
    midnight = datetime.combine(day.day, time(), UTC)
    opinions: list[Opinion] = []
    for index in range(traces):
        is_last = index == traces - 1
        began = midnight + timedelta(hours=6) + timedelta(hours=16) * index / traces
        began += timedelta(microseconds=rng.randrange(1_200_000_000))
        if late and is_last:
            began = midnight + timedelta(hours=24, seconds=-4, microseconds=-rng.randrange(500_000))
        with time_machine.travel(began, tick=False) as clock:
            agent = Agent(rng, clock, day, index, leave_pending=pending and is_last)
            with tracing_context(enabled=True, client=writer, project_name=day.project):
                agent.answer()
            day.traces += 1
            day.zenrows_failed_traces += agent.scraper_failed
            day.crosses_midnight += datetime.now(UTC).date() > day.day
            if rng.random() < 0.3:
                at = datetime.now(UTC) + timedelta(minutes=rng.randrange(2, 90))
                opinions.append(Opinion(agent.trace_id, at, agent.decision))
    writer.flush(timeout=FLUSH_SECONDS)
    _write_feedback(writer, rng, day, opinions)


def _write_feedback(writer: Client, rng: random.Random, day: SampleDay, opinions: Iterable[Opinion]) -> None:
    project_id = writer.read_project(project_name=day.project).id
    for opinion in opinions:
        with time_machine.travel(opinion.at, tick=False):
            key, score = rng.choice(("user_score", "correctness")), round(rng.random(), 2)
            comment = rng.choice(COMMENTS)
            if opinion.decision is not None:
                key, comment = "final_verdict", f"Human verdict: {_verdict(opinion).lower()}. {comment}"
            writer.create_feedback(
                trace_id=opinion.trace_id,
                key=key,
                score=score,
                comment=comment or None,
                feedback_id=_uuid7(rng),
                session_id=project_id,
            )
        day.feedback += 1


def _verdict(opinion: Opinion) -> str:
    """What a person decides: mostly the same."""
    rng = random.Random(f"{opinion.trace_id}/verdict")  # noqa: S311 - a sample, not a secret
    agrees = rng.random() < AGREEMENT
    return "PASS" if agrees == (opinion.decision == "PASS") else "FAIL"


def _judgement(trace_id: str, *, available: bool) -> dict[str, Any]:
    """What the application makes of a token's name and website; the same for the same trace."""
    rng = random.Random(trace_id)  # noqa: S311
    meme, explicit, conflict, dangerous = (rng.random() < share for share in (0.3, 0.1, 0.2, 0.1))
    return {
        "final_decision": "FAIL" if explicit or conflict or dangerous else "PASS",
        "confidence": round(rng.uniform(0.65, 1), 2),
        "name_analysis": {
            "meme_check": {"is_meme": meme},
            "explicit_check": {"is_explicit": explicit},
            "trademark_check": {"has_conflict": conflict},
        },
        "website_analysis": {"is_available": available, "malicious_check": {"is_dangerous": dangerous}},
    }


def _uuid7(rng: random.Random) -> uuid.UUID:
    """A version 7 id (RFC 9562) of the present moment, its random part from `rng`."""
    milliseconds = int(datetime.now(UTC).timestamp() * 1000)
    value = milliseconds << 80 | 0x7 << 76 | rng.getrandbits(12) << 64 | 0b10 << 62 | rng.getrandbits(62)
    return uuid.UUID(int=value)


def _request_inputs(arguments: dict[str, Any]) -> dict[str, Any]:
    """What a root run records: the request itself."""
    return dict(arguments["request"])


@dataclass(slots=True)
class Agent:
    """One conversation of the research agent. Each decorated method is one traced step."""

    rng: random.Random
    clock: time_machine.Traveller
    day: SampleDay
    index: int
    leave_pending: bool = False
    trace_id: str = ""
    scraper_failed: bool = False
    decision: str | None = None
    symbol: str = field(init=False)

    def __post_init__(self) -> None:
        self.symbol = self.rng.choice(SYMBOLS)

    def answer(self) -> None:
        """Run the whole workflow once; a failure of the workflow is recorded in its trace."""
        extra = self._extra(metadata=self._metadata(), tags=["sample", self.day.project])
        self.trace_id = str(extra["run_id"])
        try:
            self.research(self._request(), langsmith_extra=extra)
        except HTTPError:
            self.day.failed_traces += 1

    @traceable(run_type="chain", name="research_agent", process_inputs=_request_inputs)
    def research(self, request: dict[str, Any]) -> dict[str, Any]:
        """Plan, gather, write."""
        self._pass(0.02)
        steps = self.plan(request["question"], langsmith_extra=self._extra())
        notes = self.search_notes(f"{self.symbol} {request['question']}", langsmith_extra=self._extra())
        if self.leave_pending:
            self._start_review()
        pages = self.browse(self._urls(), langsmith_extra=self._extra())
        report = self.write_report(len(notes) + len(pages), steps, langsmith_extra=self._extra())
        self._pass(0.01)
        answer = {"report": report["content"], "sources": [page["url"] for page in pages]}
        return answer | self._review(pages) if self.day.project == REVIEWED else answer

    @traceable(run_type="chain", name="plan")
    def plan(self, question: str) -> list[str]:
        """Turn a question into steps, with one model call."""
        self._pass(0.005)
        messages = [{"role": "user", "content": f"Plan the research: {question}"}]
        self.ask_model(messages, langsmith_extra=self._model_extra())
        return ["search the notes", "read the project's pages", "write the report"]

    @traceable(run_type="retriever", name="search_notes")
    def search_notes(self, query: str) -> list[dict[str, Any]]:
        """Find passages in the notes."""
        self._pass(0.03)
        words = query.split()
        return [
            {
                "page_content": f"{self.symbol}: {self.rng.choice(words)} is described on page {page}.",
                "type": "Document",
                "metadata": {"page": page, "score": round(self.rng.random(), 3)},
            }
            for page in range(1, 1 + self.rng.randrange(1, 4))
        ]

    @traceable(run_type="chain", name="browse")
    def browse(self, urls: list[str]) -> list[dict[str, Any]]:
        """Scrape pages; a page that cannot be had is skipped, but a trace without any page fails."""
        pages = []
        failure: HTTPError | None = None
        for url in urls:
            try:
                page = self.zenrows_scraper(url, js_render=True, langsmith_extra=self._extra())
            except HTTPError as error:
                self.day.zenrows_failures += 1
                self.scraper_failed, failure = True, error
                continue
            pages.append(page)
            self._keep_page(url)
        if failure is not None and not pages and self.index % 2:
            raise failure
        return pages

    @traceable(run_type="tool", name="zenrows_scraper")
    def zenrows_scraper(self, url: str, js_render: bool) -> dict[str, Any]:
        """Fetch one page through the scraping service."""
        self._pass(0.4 if js_render else 0.2)
        if self.rng.random() < FAILURE_RATE:
            raise HTTPError(f"{self.rng.choice(FAILURES)} for url: {url}")
        return {
            "url": url,
            "title": f"{self.symbol} – Übersicht",
            "characters": self.rng.randrange(900, 9000),
        }

    @traceable(run_type="tool", name="save_page")
    def save_page(self, url: str, screenshot: Attachment, text: Attachment) -> dict[str, str]:  # noqa: ARG002
        """Keep a page as picture and text."""
        self._pass(0.01)
        return {"saved": url}

    @traceable(run_type="chain", name="write_report")
    def write_report(self, sources: int, steps: list[str]) -> dict[str, Any]:
        """Write the answer, with one model call."""
        self._pass(0.005)
        text = f"Report on {self.symbol} from {sources} sources in {len(steps)} steps."
        messages = [
            {"role": "system", "content": "You write short reports."},
            {"role": "user", "content": text},
        ]
        answer: dict[str, Any] = self.ask_model(messages, langsmith_extra=self._model_extra())
        return answer

    @traceable(run_type="llm", name="ChatModel")
    def ask_model(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        """What a model would answer, with the tokens and dollars it would have cost."""
        self._pass(0.6)
        read, wrote = 40 + 7 * len(messages[-1]["content"]), self.rng.randrange(30, 400)
        usage = {
            "input_tokens": read,
            "output_tokens": wrote,
            "total_tokens": read + wrote,
            "input_token_details": {"cache_read": read // 4},
            "input_cost": round(read * 15e-8, 8),
            "output_cost": round(wrote * 6e-7, 8),
            "total_cost": round(read * 15e-8 + wrote * 6e-7, 8),
        }
        content = f"{self.symbol} looks {self.rng.choice(('sound', 'unclear', 'risky'))}."
        return {"role": "assistant", "content": content, "usage_metadata": usage}

    def _review(self, pages: list[dict[str, Any]]) -> dict[str, Any]:
        """The decision on the token, with the analyses that it rests on."""
        found = _judgement(self.trace_id, available=bool(pages))
        self.decision = found["final_decision"]
        return found

    def _keep_page(self, url: str) -> None:
        """Save every fifth conversation's pages with attachments."""
        if self.index % 5 == 0:
            text = Attachment("text/plain", f"{self.symbol} page text\nfrom {url}\n".encode())
            self.save_page(url, Attachment("image/png", PIXEL), text, langsmith_extra=self._extra())
            self.day.attachments += 2

    def _start_review(self) -> None:
        """Begin a step that nobody ever finishes."""
        parent = get_current_run_tree()
        if parent is not None:
            extra = self._extra()
            inputs = {"waiting_for": "a human reviewer"}
            parent.create_child(
                "await_review", run_type="chain", run_id=extra["run_id"], inputs=inputs
            ).post()
            self.day.pending_runs += 1

    def _request(self) -> dict[str, Any]:
        """The input of a conversation, and of a review what is reviewed."""
        request = self._question()
        if self.day.project != REVIEWED:
            return request
        token = {
            "request_id": f"request-{self.trace_id[-12:]}",
            "name": f"{self.symbol.title()} Network",
            "website_url": f"https://{self.symbol.lower()}-{self.index}.example/",
        }
        return request | {"input_data": token | request.get("input_data", {})}

    def _question(self) -> dict[str, Any]:
        """What is asked; the symbol stands in one of several places."""
        question = self.rng.choice(QUESTIONS)
        match self.index % 4:
            case 0:
                return {"crypto_symbol": self.symbol, "question": question}
            case 1:
                site = self.rng.choice(SITES)
                return {"input_data": {"crypto_symbol": self.symbol, "website": site}, "question": question}
            case 2:
                return {"input_data": {"name": self.symbol.lower()}, "question": question}
        return {"question": question}

    def _metadata(self) -> dict[str, Any]:
        metadata: dict[str, Any] = {"thread_id": f"{self.day.project}-{self.index % 5}"}
        return metadata | ({"symbol": self.symbol} if self.index % 8 == 3 else {})

    def _urls(self) -> list[str]:
        return [
            f"https://{self.rng.choice(SITES)}/{self.symbol.lower()}/{page}"
            for page in range(self.rng.randrange(1, 4))
        ]

    def _extra(
        self, *, metadata: dict[str, Any] | None = None, tags: list[str] | None = None
    ) -> LangSmithExtra:
        """What makes the next run ours: its id; counts it."""
        self._pass(0.001)
        self.day.runs += 1
        return {"run_id": _uuid7(self.rng), "metadata": metadata, "tags": tags}

    def _model_extra(self) -> LangSmithExtra:
        return self._extra(
            metadata={"ls_provider": "sample", "ls_model_name": "sample-1", "ls_model_type": "chat"}
        )

    def _pass(self, seconds: float) -> None:
        """Let time go by: about ten times `seconds` at most."""
        self.clock.shift(timedelta(seconds=seconds * self.rng.uniform(1, 10)))


@contextmanager
def _own_settings() -> Iterator[None]:
    """Hide the environment's and the user's LangSmith settings from the SDK, and give them back."""
    hidden = {
        name: text for name, text in os.environ.items() if name.startswith(("LANGSMITH_", "LANGCHAIN_"))
    }
    for name in hidden:
        del os.environ[name]
    os.environ["LANGSMITH_CONFIG_FILE"] = os.devnull
    _forget_settings()
    try:
        yield
    finally:
        os.environ.pop("LANGSMITH_CONFIG_FILE")
        os.environ.update(hidden)
        _forget_settings()


def _forget_settings() -> None:
    """Clear what the SDK remembers of the environment."""
    modules: tuple[ModuleType, ...] = (utils, client, _runtime_env)
    for module in modules:
        for value in vars(module).values():
            with suppress(AttributeError):
                value.cache_clear()
