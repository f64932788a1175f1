"""One fault language for every sandbox server: rules that say which requests go wrong, when, and how.

A rule in JSON, as the control address `/_sandbox/faults` takes it:

    {"operation": "query_runs.*", "match": {"body": "cursor"}, "skip": 1, "times": 2, "probability": 0.5,
     "do": {"status": 503, "headers": {"Retry-After": "1"}}}

`do` maps action names to their arguments. These work on every server:

    status              answer with this status and do nothing; with `reason` (word in the error body),
                        `headers` (added), `format` ("json", "html" or "empty" body)
    delay               seconds before anything else happens
    drip                seconds over which the body is spread, in small pieces
    hang                seconds without any answer, then the connection closes
    truncate            send only this many bytes of the body, under the full Content-Length, then close
    badjson             the first half of the body, with a matching Content-Length
    html                an HTML page with status 200 instead of the answer
    body                this text with status 200 instead of the answer
    reset_reading       read this many bytes of the request's body, then reset the connection
    reset_before        reset the connection before the request is handled; with "close" as argument end it
                        in an orderly way, after which many clients silently send the request again
    reset_middle        handle the request, send half of the body, then reset
    handle_then_reset   handle the request, then reset (or "close") instead of answering
    handle_then_status  handle the request, then answer with this status
    redirect            answer 307 with this Location

Each server adds actions of its own, which its handlers find in `Request.faults`.
"""

import random
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

OPTIONS = frozenset({"reason", "headers", "format"})
ACTIONS = frozenset(
    {
        "status",
        "delay",
        "drip",
        "hang",
        "truncate",
        "badjson",
        "html",
        "body",
        "reset_reading",
        "reset_before",
        "reset_middle",
        "handle_then_reset",
        "handle_then_status",
        "redirect",
    }
)
PARTS = frozenset({"path", "query", "body", "header"})


@dataclass(frozen=True, slots=True)
class Rule:
    """Which requests fail, and how.

    `operation` is a regular expression that must match the whole operation name; those in `match` must be
    found somewhere in the part of the request they are named after ("header" sees `Name: value` lines).
    The first `skip` matching requests pass; the next `times` (None: all) fail, each with `probability`.
    """

    do: Mapping[str, Any]
    operation: str = ".*"
    match: Mapping[str, str] = field(default_factory=dict)
    skip: int = 0
    times: int | None = 1
    probability: float = 1.0

    @classmethod
    def from_json(cls, value: Any) -> "Rule":
        """The rule that the JSON object `value` describes; `ValueError` says what does not fit."""
        names = {f.name for f in fields(cls)}
        if not isinstance(value, dict) or "do" not in value:
            raise ValueError("a rule is an object with at least `do`")
        if unknown := value.keys() - names:
            raise ValueError(f"unknown rule fields {sorted(unknown)}; known: {sorted(names)}")
        return cls(**value)


@dataclass(slots=True)
class _Active:
    rule: Rule
    random: random.Random
    seen: int = 0
    fired: int = 0

    def due(self) -> bool:
        """Count one matching request; whether this rule strikes it."""
        self.seen += 1
        if self.seen <= self.rule.skip or (self.rule.times is not None and self.fired >= self.rule.times):
            return False
        struck = self.random.random() < self.rule.probability
        self.fired += struck
        return struck


class Faults:
    """The rules in force on one server. Safe to use from several threads."""

    def __init__(self, domain: Iterable[str] = (), seed: int = 0) -> None:
        """`domain` names the actions that the server's own handlers understand."""
        self.domain = frozenset(domain)
        self.seed = seed
        self._active: list[_Active] = []
        self._lock = threading.Lock()

    def add(self, rule: Rule) -> None:
        """Put `rule` behind those in force; `ValueError` lists the known names when one is unknown."""
        self._check(rule)
        with self._lock:
            self._active.append(_Active(rule, self._dice(len(self._active))))

    def reseed(self, seed: int) -> None:
        """Start all chances and counts again from `seed`."""
        with self._lock:
            self.seed = seed
            self._active = [_Active(a.rule, self._dice(i)) for i, a in enumerate(self._active)]

    def clear(self) -> None:
        """Drop all rules."""
        with self._lock:
            self._active.clear()

    def describe(self) -> dict[str, Any]:
        """The seed, the known actions, and every rule with how often it matched and fired."""
        with self._lock:
            rules = [asdict(a.rule) | {"seen": a.seen, "fired": a.fired} for a in self._active]
        return {"seed": self.seed, "actions": sorted(ACTIONS | self.domain), "rules": rules}

    def strike(self, operation: str, part: Callable[[str], str]) -> dict[str, Any]:
        """The actions that hit this request, with their arguments; `part(name)` gives a part of it as text.

        Each action happens once per request: a rule that names an action or option which an earlier rule
        already gave to this request waits for a later one, so equal rules strike one after the other.
        """
        taken: dict[str, Any] = {}
        with self._lock:
            for active in self._active:
                rule = active.rule
                if not taken.keys() & rule.do.keys() and _matches(rule, operation, part) and active.due():
                    taken |= rule.do
        return taken

    def _dice(self, index: int) -> random.Random:
        return random.Random(f"{self.seed}/{index}")  # noqa: S311 - chances of faults, not secrets

    def _check(self, rule: Rule) -> None:
        if unknown := rule.do.keys() - ACTIONS - OPTIONS - self.domain:
            known = ", ".join(sorted(ACTIONS | OPTIONS | self.domain))
            raise ValueError(f"unknown action {', '.join(sorted(unknown))}; known: {known}")
        if not rule.do.keys() - OPTIONS:
            raise ValueError("`do` needs an action")
        if unknown := rule.match.keys() - PARTS:
            raise ValueError(
                f"cannot match on {', '.join(sorted(unknown))}; known: {', '.join(sorted(PARTS))}"
            )
        for pattern in (rule.operation, *rule.match.values()):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from error


def _matches(rule: Rule, operation: str, part: Callable[[str], str]) -> bool:
    return re.fullmatch(rule.operation, operation) is not None and all(
        re.search(pattern, part(name)) for name, pattern in rule.match.items()
    )
