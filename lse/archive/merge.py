"""Bring a trace up to date: nothing shrinks, nothing finished becomes unfinished."""

import re
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from lse.archive.identity import utc_time
from lse.archive.jsontext import members
from lse.archive.trace_file import make_trace
from lse.models import RawRun, Trace

_LINKS = frozenset({"s3_urls", "inputs_s3_urls", "outputs_s3_urls", "attachments"})
_CONTENT = ("name", "inputs", "outputs", "error", "extra", "events", "tags")
"""The members that both read APIs serve with the same text"""
_SIGNATURE = re.compile(rb'\?[^"\\]*"')


def merge_trace(earlier: Trace | None, later: Trace) -> Trace:
    """`later` over `earlier`: changed runs and feedback replace, what vanished at the source stays."""
    if earlier is None:
        return later
    runs = latest_runs([*earlier.runs, *later.runs])
    feedback = {item.id: item for item in [*earlier.feedback, *later.feedback]}
    files = {(file.run_id, file.name): file for file in [*earlier.files, *later.files]}
    return make_trace(later.id, runs, feedback.values(), files.values())


def latest_runs(runs: Iterable[RawRun]) -> list[RawRun]:
    """One version per run id: the last one given, but never an unfinished one over a finished one."""
    kept: dict[UUID, RawRun] = {}
    for run in runs:
        before = kept.get(run.id)
        if before is None or _replaces(run, before):
            kept[run.id] = run
    return list(kept.values())


def _replaces(later: RawRun, before: RawRun) -> bool:
    if later.text == before.text or (before.ended and not later.ended):
        return False
    texts = [_lasting(run.text) for run in (later, before)]
    if "project_id" in texts[0] and "session_id" in texts[1]:
        # v2 serves fewer fields than v1: asked again through v2, an unchanged run keeps its fuller text.
        return _content(texts[0]) != _content(texts[1])
    return texts[0] != texts[1]


def _content(text: dict[str, bytes]) -> list[Any]:
    """What both read APIs say of a run, however they write it."""
    end = utc_time(text.get("end_time", b"").strip(b'"').decode("utf-8", "replace"))
    return [end, text.get("status", b"null").lower(), *(text.get(key, b"null") for key in _CONTENT)]


def _lasting(text: bytes) -> dict[str, bytes]:
    """The members of a run, links to stored files without their signatures: those differ at every answer."""
    return {key: _SIGNATURE.sub(b'"', value) if key in _LINKS else value for key, value in members(text)}


def missing_parents(trace: Trace) -> list[UUID]:
    """The ids of runs whose parent, or whose root, is not in the trace."""
    present = {run.id for run in trace.runs}
    orphans = [run.id for run in trace.runs if run.parent_id is not None and run.parent_id not in present]
    return orphans if trace.id in present else [trace.id, *orphans]
