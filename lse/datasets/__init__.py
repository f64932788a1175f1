"""Evaluation datasets from archived traces. One file of this folder is one recipe, called by its file name.

A recipe module has a docstring and `RULES`. It may have `derive(outputs, look)`: values for outputs that no
run states, from what `look(path)` finds in the trace; only gaps are filled from it, and they are named in the
example's metadata. Users add recipes in a folder of their own (`LSE_RECIPES_DIR`): a `.py` file of the same
form, or a `.yaml` file with the fields of `Rules`.

A path is that of a value: `outputs.name_analysis.is_meme`, `inputs.messages[-1].content`, and
`inputs["odd.key"]`; `*` stands for any one member. In a run, `feedback.<key>` is the latest feedback record
of that key: `.score`, `.value`, `.comment`, `.correction`, `.source`, `.verdict`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from lse.errors import LseError
from lse.models import ProjectDay


class Field(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where one value of an example comes from: the first of `paths` in the first run that has one.

    The root comes first, then its descendants in dotted order; null and missing are gaps, anything else is a
    value. In YAML a path, or a list of paths, may stand for the whole field.
    """

    paths: tuple[str, ...]
    kind: Literal["any", "text", "boolean", "number", "list"] = "any"
    """What the value must be; one that is not, and cannot be read as such, is no value."""
    default: Any = None
    """What stands in for a value that no run has; the example's metadata names such fields."""
    required: bool = False
    """Whether a trace without the value, or with a blank text, is dropped."""
    run_name: str | None = None
    """Only runs of this name are looked at."""
    run_type: str | None = None
    """Only runs of this type are looked at."""


class Feedback(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which verdict people gave, read from the whole feedback record, and with what it must agree.

    A record says its verdict in its correction, value, comment or score, looked at in this order.
    """

    key: str
    verdicts: tuple[str, ...] = ()
    """Those that count, in capitals; empty: any."""
    comment_pattern: str | None = None
    """A regular expression whose first group is the verdict; the last match in the comment counts."""
    pass_from: float | None = None
    """The score from which on the verdict is PASS, else FAIL; unset: scores are no verdicts."""
    sources: tuple[str, ...] = ()
    """The types of source that count, such as `app` for people in LangSmith; empty: any."""
    several: Literal["latest", "unanimous"] = "latest"
    """Of several records on a run the latest counts, or all must say the same."""
    agrees_with: tuple[str, ...] = ()
    """Paths of the application's own decision, which must equal the verdict; empty: need not."""


class Confidence(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How sure the application must have been: a number, or a text that is one."""

    paths: tuple[str, ...]
    at_least: float


class Deduplicate(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Examples that are the same thing: of those with equal keys one is kept.

    A key is a path in the example, perhaps with `|lower`, `|domain` or `|url` behind it; the last one leaves
    out the scheme, `www.` and the slash at the end. An example without any of them is unlike all others.
    """

    by: tuple[str, ...]
    keep: Literal["latest", "earliest"] = "latest"
    prefer: dict[str, Any] = {}
    """Path and value in the example: one that has them is kept rather than one that has not."""


class Sample(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which examples are taken when there are many."""

    total: int
    keep: dict[str, Any] = {}
    """Path and value in the example: those that have them are all kept, and count for the total."""
    per: str | None = None
    """A path: its values are represented in proportion."""
    one_per: str | None = None
    """A key as in `Deduplicate`: of equal ones among those not kept anyway, one is taken."""
    order: Literal["recent", "random"] = "random"
    """Recent ones first, or in an order that only the trace ids and `seed` decide."""
    seed: str = ""


class Split(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Into which parts the examples go; which part depends on the example alone, not on the others."""

    parts: dict[str, float]
    """Name and weight."""
    by: str | None = None
    """A key as in `Deduplicate`: equal ones go into the same part. Unset: the trace."""
    seed: str = ""


class Chat(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How an example becomes a conversation: a system text, and the input and output that are said."""

    system: str | None = None
    user: str | None = None
    """The input that is the user's text, or a list of messages; unset: the only one, or all as JSON."""
    assistant: str | None = None
    """Likewise of the outputs."""


class Rules(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What makes examples of traces."""

    summary: str = ""
    inputs: dict[str, Field]
    outputs: dict[str, Field]
    metadata: dict[str, Field] = {}
    statuses: tuple[str, ...] = ()
    """The statuses that the root may have; empty: any."""
    where: tuple[str, ...] = ()
    """What the root must be, as conditions of reports: `name=research_agent`, `tag=production`."""
    feedback: Feedback | None = None
    confidence: Confidence | None = None
    deduplicate: Deduplicate | None = None
    sample: Sample | None = None
    split: Split | None = None
    redact: tuple[str, ...] = ()
    """Personal data that never gets into an example: `email`, `phone`, `card`, `iban`, `ip`, `secret`."""
    chat: Chat = Chat()


Look = Callable[[str], Any]
"""What a path finds in a trace, root first; None when nothing."""


@dataclass(frozen=True)
class Recipe:
    """A recipe, ready to be used."""

    name: str
    rules: Rules
    derive: Callable[[Mapping[str, Any], Look], Mapping[str, Any]] | None
    sha256: str
    """Of the rules, and of the file's text when it derives values."""


class TracedRun(NamedTuple):
    """A run as the store gives it; those of a trace come one after the other, in any order."""

    trace_id: str
    run_id: str
    started: int
    """Microseconds since 1970, UTC."""
    data: str
    """The run as JSON."""
    feedback: str | None
    """The feedback records on it, a JSON array."""


@dataclass(frozen=True, slots=True)
class Example:
    """One example: what goes in, what should come out, and where it is from."""

    inputs: dict[str, Any]
    outputs: dict[str, Any]
    metadata: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """The example as LangSmith's JSONL has it."""
        return {"inputs": self.inputs, "outputs": self.outputs, "metadata": self.metadata}


DatedRuns = Iterator[tuple[ProjectDay, Iterator[TracedRun]]]


class NoExamples(LseError):
    """No trace became an example; nothing was written."""

    exit_code = 3
