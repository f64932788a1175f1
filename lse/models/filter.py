"""Which runs are meant: conditions on what a run is, the same for a run in hand and in the store."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from lse.errors import UsageError
from lse.models.fingerprint import MESSAGE_LENGTH, fingerprint
from lse.models.run import Run, metadata_value

FIELDS = ("name", "status", "type", "tag", "model", "error", "fingerprint")
"""What a condition may be about, besides `metadata.KEY`."""

_CONDITION = re.compile(r"(metadata\.[^=~]+|[a-z]+)([=~])(.*)", re.DOTALL)
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Condition:
    """What `field` of a run must be, or with `contains`, must hold somewhere. Case counts.

    A run that lacks the field has the empty text; of several tags one is enough. An error's first 300
    characters count.
    """

    field: str
    value: str
    contains: bool = False

    def matches(self, run: Run, text: bytes = b"") -> bool:
        """Whether `run`, whose JSON text is `text`, meets the condition; only metadata needs the text."""
        return any(
            self.value in found if self.contains else self.value == found for found in self._found(run, text)
        )

    def _found(self, run: Run, text: bytes) -> Iterable[str]:
        match self.field:
            case "tag":
                return run.tags or ("",)
            case "type":
                return (run.run_type or "",)
            case "error":
                return ((run.error or "")[:MESSAGE_LENGTH],)
            case "fingerprint":
                return (fingerprint(run.error),)
            case "name" | "status" | "model":
                return (getattr(run, self.field) or "",)
            case _:
                return (metadata_value(text, self.metadata_key) or "",)

    @property
    def metadata_key(self) -> str:
        """The key of the metadata that the condition is about."""
        return self.field.removeprefix("metadata.")

    def __str__(self) -> str:
        return f"{self.field}{'~' if self.contains else '='}{self.value}"


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Conditions that a run must all meet; without any, every run is meant."""

    conditions: tuple[Condition, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """The filter of conditions such as `name=plan`, `error~timeout` or `metadata.user=7`.

        `=` asks for equality, `~` for a part. Raises `UsageError` naming the fields there are.
        """
        return cls(tuple(map(_parsed, texts)))

    def matches(self, run: Run, text: bytes = b"") -> bool:
        """Whether `run`, whose JSON text is `text`, is meant."""
        return all(condition.matches(run, text) for condition in self.conditions)

    @property
    def fields(self) -> set[str]:
        """What the conditions are about."""
        return {condition.field for condition in self.conditions}

    def without(self, *fields: str) -> "RunFilter":
        """The conditions on other fields."""
        return RunFilter(tuple(condition for condition in self if condition.field not in fields))

    def only(self, field: str) -> "RunFilter":
        """The conditions on `field`."""
        return RunFilter(tuple(condition for condition in self if condition.field == field))

    def __iter__(self) -> Iterator[Condition]:
        return iter(self.conditions)

    def __bool__(self) -> bool:
        return bool(self.conditions)

    def __and__(self, other: "RunFilter") -> "RunFilter":
        return RunFilter(self.conditions + other.conditions)


ALL_RUNS = RunFilter()
"""No condition."""


def _parsed(text: str) -> Condition:
    match = _CONDITION.fullmatch(text)
    if match is None or not (match[1] in FIELDS or match[1].startswith("metadata.")):
        raise UsageError(
            f"{text!r} is not a condition on runs.",
            hint=f"FIELD=VALUE, or FIELD~PART; fields: {', '.join(FIELDS)}, metadata.KEY.",
        )
    field, sign, value = match.groups()
    if sign == "~" and not value:
        raise UsageError(f"{text!r} looks for nothing.", hint="Write the part to look for behind `~`.")
    # What Postgres' text cannot hold stands as U+FFFD in every run, too.
    return Condition(field, _UNSTORABLE.sub("\ufffd", value), sign == "~")


def named(name: str | None, *, contains: bool = False) -> RunFilter:
    """The runs of this name, or with this part in it; all runs for None."""
    return RunFilter((Condition("name", name, contains),)) if name is not None else ALL_RUNS
