"""What people said about a run: whole feedback records, and the verdict in them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lse.datasets import Feedback

Record = Mapping[str, Any]

_SHOWN = ("key", "score", "value", "comment", "correction")


def records_of(
    sent: Sequence[Mapping[str, Any]], stats: Any, rule: Feedback | None = None
) -> list[dict[str, Any]]:
    """The records on a run, oldest first, with their source, and the verdict that `rule` finds in each.

    `sent` are LangSmith's records. Runs from before those were archived have `feedback_stats` alone, whose
    comments stand in for the records of a key that has none.
    """
    found = [_record(item) for item in sorted(sent, key=_age)]
    known = {record["key"] for record in found}
    if isinstance(stats, dict):
        for key, of_key in sorted(stats.items()):
            if key not in known and isinstance(of_key, dict):
                found += _from_stats(key, of_key)
    for record in found:
        record["verdict"] = verdict_of(record, rule) if rule else None
    return found


def verdict_of(record: Record, rule: Feedback) -> str | None:
    """The verdict that `record` says, in capitals; None when it says none that counts."""
    for text in _said(record, rule):
        if text and (not rule.verdicts or text.strip().upper() in rule.verdicts):
            return text.strip().upper()
    return None


def counts(record: Record, rule: Feedback) -> bool:
    """Whether `record` is of the rule's key and from a source that counts."""
    return record["key"] == rule.key and (not rule.sources or record["source"] in rule.sources)


def shown(record: Record, run_id: str, rule: Feedback | None) -> dict[str, Any]:
    """What an example's metadata keeps of `record`."""
    kept = {name: record[name] for name in (*_SHOWN, "source") if record.get(name) is not None}
    verdict = {"verdict": record["verdict"]} if rule and counts(record, rule) and record["verdict"] else {}
    return {**kept, "run_id": run_id, **verdict}


def _said(record: Record, rule: Feedback) -> Iterator[str | None]:
    yield _stated(record.get("correction"))
    yield _stated(record.get("value"))
    yield _in_comment(record.get("comment"), rule.comment_pattern)
    yield _from_score(record.get("score"), rule.pass_from)


def _record(sent: Mapping[str, Any]) -> dict[str, Any]:
    source = sent.get("feedback_source")
    kind = source.get("type") if isinstance(source, dict) else None
    return {**{name: sent.get(name) for name in _SHOWN}, "source": kind}


def _age(sent: Mapping[str, Any]) -> tuple[str, str]:
    return str(sent.get("modified_at") or sent.get("created_at") or ""), str(sent.get("id"))


def _from_stats(key: str, stats: Mapping[str, Any]) -> list[dict[str, Any]]:
    comments = [text for text in stats.get("comments") or () if isinstance(text, str)]
    if not comments and "verdict" not in stats:
        return []  # an average alone says nothing about who meant what
    base = {"key": key, "score": stats.get("avg"), "value": stats.get("verdict"), "source": None}
    if not comments:
        return [{**base, "comment": None, "correction": None}]
    return [{**base, "comment": comment, "correction": None} for comment in comments]


def _stated(value: Any) -> str | None:
    if isinstance(value, dict):
        value = value.get("verdict")
    return value if isinstance(value, str) else None


def _in_comment(comment: Any, pattern: str | None) -> str | None:
    if not pattern or not isinstance(comment, str):
        return None
    found = re.findall(pattern, comment, re.IGNORECASE)
    return str(found[-1]) if found else None


def _from_score(score: Any, pass_from: float | None) -> str | None:
    if score is None or pass_from is None or isinstance(score, str | dict | list):
        return None
    return "PASS" if score >= pass_from else "FAIL"
