"""Judgements of token names: is it a meme, is it explicit, does it conflict with a trademark.

From traces whose verdict by a person agrees with the application's decision, which it was sure of.
"""

from lse.datasets import Confidence, Deduplicate, Feedback, Field, Rules

REDACTED = ("email", "phone", "card", "iban", "ip", "secret")

VERDICT = Feedback(
    key="final_verdict",
    verdicts=("PASS", "FAIL"),
    comment_pattern=r"Human verdict:\s*([A-Za-z]+)",
    agrees_with=("outputs.final_decision",),
)
CONFIDENT = Confidence(paths=("outputs.confidence",), at_least=0.7)
REQUESTS = Deduplicate(by=("metadata.request_id",), keep="earliest")
REQUEST_ID = Field(paths=("inputs.input_data.request_id", "inputs.request_id"))


def asked(*names: str) -> Field:
    """A text of the request, empty when it says nothing."""
    return Field(
        paths=places("inputs.input_data", *names) + places("inputs", *names), kind="text", default=""
    )


def label(analysis: str, name: str) -> Field:
    """A judgement: a person's correction, else what the analyses say, else the outputs themselves."""
    checks = tuple(f"outputs.{part}.{analysis}" for part in ("name_analysis", "website_analysis"))
    paths = (f"feedback.final_verdict.correction.{name}", *checks, f"outputs.{analysis}")
    flag = analysis.rpartition(".")[2]
    bare = tuple(path.removesuffix(f".{flag}") for path in (*checks, f"outputs.{analysis}"))
    return Field(paths=(*paths, *bare, f"outputs.{flag}"), kind="boolean", default=False)


def places(parent: str, *names: str) -> tuple[str, ...]:
    """The paths of `names` below `parent`."""
    return tuple(f"{parent}.{name}" for name in names)


RULES = Rules(
    inputs={
        "name": asked("name"),
        "symbol": asked("crypto_symbol", "symbol"),
        "description": asked("description"),
    },
    outputs={
        "is_meme": label("meme_check.is_meme", "is_meme"),
        "is_explicit": label("explicit_check.is_explicit", "is_explicit"),
        "has_conflict": label("trademark_check.has_conflict", "has_conflict"),
    },
    metadata={"request_id": REQUEST_ID},
    feedback=VERDICT,
    confidence=CONFIDENT,
    deduplicate=REQUESTS,
    redact=REDACTED,
)
