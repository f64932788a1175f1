"""Judgements of token websites: meme, explicit, reachable, malicious, in conflict with a trademark.

From traces whose verdict by a person agrees with the application's decision, which it was sure of.
"""

from lse.datasets import Field, Rules
from lse.datasets.token_name import CONFIDENT, REDACTED, REQUEST_ID, REQUESTS, VERDICT, asked, label

RULES = Rules(
    inputs={
        "name": asked("name"),
        "symbol": asked("crypto_symbol", "symbol"),
        "network": asked("network"),
        "description": asked("description"),
        "website_url": asked("website_url"),
        "social_profiles": Field(
            paths=("inputs.input_data.social_profiles", "inputs.social_profiles"), kind="list", default=[]
        ),
        "contract_address": asked("contract_address"),
    },
    outputs={
        "is_meme": label("meme_check.is_meme", "is_meme"),
        "is_explicit": label("explicit_check.is_explicit", "is_explicit"),
        "is_available": Field(
            paths=(
                "feedback.final_verdict.correction.is_available",
                "outputs.website_analysis.is_available",
                "outputs.is_available",
            ),
            kind="boolean",
            default=True,
        ),
        "is_malicious": Field(
            paths=(
                "feedback.final_verdict.correction.is_malicious",
                "outputs.website_analysis.malicious_check.is_dangerous",
                "outputs.malicious_check.is_dangerous",
                "outputs.is_malicious",
            ),
            kind="boolean",
            default=False,
        ),
        "has_trademark_conflict": label("trademark_check.has_conflict", "has_trademark_conflict"),
    },
    metadata={"request_id": REQUEST_ID},
    feedback=VERDICT,
    confidence=CONFIDENT,
    deduplicate=REQUESTS,
    redact=REDACTED,
)
