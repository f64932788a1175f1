"""Token reviews from a seed, with the labels that are true of them: what datasets must recover."""

import json
import random
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from lse.datasets import TracedRun
from lse.models import RawFeedback, RawRun, Trace

PROJECT = "token-review"
DAY = date(2025, 9, 13)


@dataclass(frozen=True)
class Review:
    """One trace: its runs and feedback as JSON documents, and what a dataset should say of it."""

    trace_id: str
    runs: list[dict[str, Any]]
    feedback: list[dict[str, Any]]
    labels: dict[str, bool] | None
    """None when the trace does not qualify: nobody judged it, or the judgement differs."""

    def rows(self) -> list[TracedRun]:
        """The trace as the store gives it."""
        return [
            TracedRun(
                self.trace_id,
                run["id"],
                int(datetime.fromisoformat(run["start_time"]).replace(tzinfo=UTC).timestamp() * 1e6),
                json.dumps(run),
                json.dumps(found) if (found := self._on(run["id"])) else None,
            )
            for run in self.runs
        ]

    def trace(self) -> Trace:
        """The trace as it is loaded."""
        root = UUID(self.trace_id)
        runs = [
            RawRun(
                UUID(run["id"]),
                root,
                None if run["id"] == self.trace_id else root,
                run["dotted_order"],
                True,
                json.dumps(run).encode(),
            )
            for run in self.runs
        ]
        feedback = [
            RawFeedback(UUID(item["id"]), UUID(item["run_id"]), json.dumps(item).encode())
            for item in self.feedback
        ]
        started = datetime.fromisoformat(self.runs[0]["start_time"]).replace(tzinfo=UTC)
        return Trace(root, started, tuple(runs), tuple(feedback))

    def _on(self, run_id: str) -> list[dict[str, Any]]:
        return [item for item in self.feedback if item["run_id"] == run_id]


def reviews(count: int, seed: int = 7) -> list[Review]:
    """`count` traces of DAY. Their later runs contradict the earlier ones, as default values do."""
    rng = random.Random(seed)
    return [_review(rng, number) for number in range(count)]


def _review(rng: random.Random, number: int) -> Review:
    truth = {name: rng.random() < 0.5 for name in ("is_meme", "is_explicit", "has_conflict")}
    root_id = _uuid7(rng, number)
    started = datetime.combine(DAY, time(1), UTC) + timedelta(seconds=number)
    decision = rng.choice(("PASS", "FAIL"))
    judged = rng.choice((decision, decision, decision, "other", None))
    confidence = rng.choice((0.7, "0.95", 0.69, 0.99))
    in_root = rng.random() < 0.5
    request = {
        "request_id": f"request-{number}",
        "name": f"Token {number}",
        "description": "a coin",
        "crypto_symbol": f"T{number}",
        "website_url": f"https://www.site{number}.example/",
    }
    outputs = {"final_decision": decision, "confidence": confidence, **(_analysis(truth) if in_root else {})}
    opposite = {name: not value for name, value in truth.items()}
    first = {} if in_root else _analysis(truth)
    runs = [
        _run(root_id, root_id, started, 0, {"input_data": request}, outputs),
        _run(_uuid7(rng, number), root_id, started, 1, {"name": "child"}, first),
        _run(_uuid7(rng, number), root_id, started, 2, {}, _analysis(opposite)),
    ]
    verdict = {"PASS": "FAIL", "FAIL": "PASS"}[decision] if judged == "other" else judged
    feedback = [_feedback(rng, number, root_id, verdict)] if verdict else []
    kept = judged == decision and float(confidence) >= 0.7
    return Review(root_id, runs, feedback, truth if kept else None)


def _analysis(labels: dict[str, bool]) -> dict[str, Any]:
    return {
        "name_analysis": {
            "meme_check": {"is_meme": labels["is_meme"]},
            "explicit_check": {"is_explicit": labels["is_explicit"]},
            "trademark_check": {"has_conflict": labels["has_conflict"]},
        }
    }


def _run(
    run_id: str, trace_id: str, began: datetime, at: int, inputs: dict[str, Any], outputs: dict[str, Any]
) -> dict[str, Any]:
    started = began + timedelta(milliseconds=at)
    own = f"{started:%Y%m%dT%H%M%S%f}Z{run_id}"
    order = own if at == 0 else f"{began:%Y%m%dT%H%M%S%f}Z{trace_id}.{own}"
    return {
        "id": run_id,
        "trace_id": trace_id,
        "parent_run_id": None if at == 0 else trace_id,
        "name": "review" if at == 0 else f"step {at}",
        "run_type": "chain",
        "status": "success",
        "start_time": started.replace(tzinfo=None).isoformat(),
        "end_time": started.replace(tzinfo=None).isoformat(),
        "dotted_order": order,
        "inputs": inputs,
        "outputs": outputs,
    }


def _feedback(rng: random.Random, number: int, run_id: str, verdict: str) -> dict[str, Any]:
    return {
        "id": _uuid7(rng, number),
        "run_id": run_id,
        "key": "final_verdict",
        "score": 1,
        "value": None,
        "comment": f"Looked at it twice. Human verdict: {verdict.lower()} (sure)",
        "correction": None,
        "created_at": "2025-09-13T09:00:00",
        "modified_at": "2025-09-13T09:00:00",
        "feedback_source": {"type": "app", "metadata": {}, "user_name": "Ada"},
    }


def _uuid7(rng: random.Random, number: int) -> str:
    moment = int(datetime.combine(DAY, time(1), UTC).timestamp() * 1000) + number
    value = moment << 80 | 0x7 << 76 | rng.getrandbits(12) << 64 | 0b10 << 62 | rng.getrandbits(62)
    return str(UUID(int=value))
