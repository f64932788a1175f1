"""What a fetch notes beside the trace files, for tests to which only some of it matters."""

from typing import Any

from lse.archive.fetch_record import FetchRecord

_FIGURES = ("runs", "traces", "feedback", "missing_parents", "unplaced", "stored_files", "missing_files")


def fetch_record(**said: Any) -> FetchRecord:
    """The record of a complete fetch of chat/2025-09-13 that found nothing, but for what is `said`."""
    known: dict[str, Any] = {
        "project": "chat",
        "project_id": "",
        "date": "2025-09-13",
        "source": "langsmith v2",
        "fetched_at": "2025-09-20T00:00:00+00:00",
        "complete": True,
        "reason": "the server counts as many",
        "walks": 1,
        "server_runs": None,
        "server_traces": None,
        "content_sha256": "",
        **dict.fromkeys(_FIGURES, 0),
    }
    return FetchRecord(**known | said)
