"""Whether a website could be reached, with notes on how that was seen; needs no feedback.

A value that a run states always wins. Where none does, the analysis that was done, then the decision, stand
in; such values are named under `derived` in the example's metadata. A trace that says nothing is dropped.
"""

from collections.abc import Mapping
from typing import Any

from lse.datasets import Field, Look, Rules
from lse.datasets.token_name import REDACTED, REQUEST_ID, REQUESTS

_PAGE = ("project_info", "social_links", "page_links")
_NOTES = ("error_message", "availability_notes", "notes")

RULES = Rules(
    inputs={
        "website_url": Field(
            paths=("inputs.input_data.website_url", "inputs.website_url", "inputs.*.website_url"),
            kind="text",
            required=True,
        )
    },
    outputs={
        "is_available": Field(
            paths=(
                "feedback.*.correction.is_available",
                "outputs.website_analysis.is_available",
                "outputs.is_available",
            ),
            kind="boolean",
            required=True,
        ),
        "notes": Field(
            paths=tuple(
                f"{place}.{name}" for place in ("outputs.website_analysis", "outputs") for name in _NOTES
            ),
            kind="text",
        ),
    },
    metadata={"request_id": REQUEST_ID},
    deduplicate=REQUESTS,
    redact=REDACTED,
)


def derive(outputs: Mapping[str, Any], look: Look) -> Mapping[str, Any]:
    """What the rest of the trace says about a website whose availability, or notes on it, no run states."""
    scraped = any(look(f"outputs.{place}{part}") for place in ("website_analysis.", "") for part in _PAGE)
    analysed = bool(look("outputs.website_analysis") or look("outputs.name_analysis"))
    decision = {"PASS": True, "FAIL": False}.get(str(look("outputs.final_decision")).strip().upper())
    available = outputs["is_available"]
    if available is None:
        available = True if scraped or analysed else decision
    if available is None:
        return {}
    return {"is_available": available, "notes": _notes(available, scraped, analysed)}


def _notes(available: bool, scraped: bool, analysed: bool) -> str:
    if available and scraped:
        return "Website accessible - content successfully scraped"
    if analysed:
        found = (
            "accessible - analysis completed successfully"
            if available
            else "not accessible - analysis completed"
        )
        return f"Website {found}"
    return "Website appears to be accessible" if available else "Website may be unavailable"
