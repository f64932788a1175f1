"""Which examples stay: each thing once, then a sample. All decided by keys, never by the order of arrival."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lse.datasets import Deduplicate, Example, Rules, Sample, Split
from lse.datasets._hashing import fraction
from lse.datasets._keys import has, key_of


class Entry(NamedTuple):
    """What selection knows of an example, and where its bytes are in the spool."""

    date: str
    trace_id: str
    started: int
    duplicate_key: tuple[str | None, ...] | None
    preferred: bool
    kept_anyway: bool
    stratum: str | None
    one_of: str | None
    part: str | None
    offset: int
    size: int

    @property
    def place(self) -> tuple[str, str]:
        """The order of a dataset: by day and trace id, which for version 7 ids is by time."""
        return self.date, self.trace_id

    @property
    def age(self) -> tuple[int, str]:
        """By the start of the trace."""
        return self.started, self.trace_id


def entry_of(example: Example, started: int, rules: Rules, *, offset: int, size: int) -> Entry:
    """The keys of `example`, in which nothing is redacted, and the place of its line in the spool."""
    deduplicate, sample = rules.deduplicate, rules.sample
    key = tuple(key_of(example, by) for by in deduplicate.by) if deduplicate else None
    return Entry(
        date=example.metadata["date"],
        trace_id=example.metadata["trace_id"],
        started=started,
        duplicate_key=key if key and any(part is not None for part in key) else None,
        preferred=bool(deduplicate and deduplicate.prefer and has(example, deduplicate.prefer)),
        kept_anyway=bool(sample and sample.keep and has(example, sample.keep)),
        stratum=key_of(example, sample.per) if sample and sample.per else None,
        one_of=key_of(example, sample.one_per) if sample and sample.one_per else None,
        part=next(iter(example.metadata.get("dataset_split", ())), None),
        offset=offset,
        size=size,
    )


def select(entries: Iterable[Entry], rules: Rules, dropped: Counter[str]) -> list[Entry]:
    """The entries that stay, in the order of a dataset; `dropped` counts the others by reason."""
    found = list(entries)
    if rules.deduplicate:
        unique = _unique(found, rules.deduplicate)
        dropped["duplicate"] += len(found) - len(unique)
        found = unique
    if rules.sample:
        found = _sampled(found, rules.sample, dropped)
    return sorted(found, key=lambda entry: entry.place)


def part_of(example: Example, split: Split) -> str:
    """The part of `split` into which `example` goes: by a hash, so that other examples do not matter.

    The hash is another than that of samples, so that each part has its share of what is sampled.
    """
    key = (key_of(example, split.by) if split.by else None) or example.metadata["trace_id"]
    point = fraction("split", split.seed, key) * sum(split.parts.values())
    names = sorted(split.parts)
    for name in names:
        point -= split.parts[name]
        if point < 0:
            return name
    return names[-1]


def _unique(entries: Sequence[Entry], rule: Deduplicate) -> list[Entry]:
    ordered = sorted(entries, key=lambda entry: entry.age, reverse=rule.keep == "latest")
    ordered.sort(key=lambda entry: not entry.preferred)
    seen: set[tuple[str | None, ...]] = set()
    kept = []
    for entry in ordered:
        if entry.duplicate_key is None or entry.duplicate_key not in seen:
            kept.append(entry)
        if entry.duplicate_key is not None:
            seen.add(entry.duplicate_key)
    return kept


def _sampled(entries: Sequence[Entry], rule: Sample, dropped: Counter[str]) -> list[Entry]:
    """All that are kept anyway, and as many of the others as fit."""
    always = [entry for entry in entries if entry.kept_anyway]
    others = _drawn([entry for entry in entries if not entry.kept_anyway], rule)
    if rule.one_per:
        firsts = _one_each(others)
        dropped[f"same {rule.one_per} as another"] += len(others) - len(firsts)
        others = firsts
    chosen = _in_proportion(others, max(0, rule.total - len(always)))
    dropped["not sampled"] += len(others) - len(chosen)
    return always + chosen


def _drawn(entries: Sequence[Entry], rule: Sample) -> list[Entry]:
    """`entries` in the order in which they are taken."""
    if rule.order == "recent":
        return sorted(entries, key=lambda entry: entry.age, reverse=True)
    return sorted(entries, key=lambda entry: (fraction("sample", rule.seed, entry.trace_id), entry.trace_id))


def _one_each(entries: Sequence[Entry]) -> list[Entry]:
    firsts: dict[str, Entry] = {}
    for entry in entries:
        firsts.setdefault(entry.one_of if entry.one_of is not None else f"\0{entry.trace_id}", entry)
    return list(firsts.values())


def _in_proportion(entries: Sequence[Entry], total: int) -> list[Entry]:
    """The first entries of each stratum, `total` in all: shares by the largest remainders (Hamilton)."""
    if total >= len(entries):
        return list(entries)
    strata: dict[str, list[Entry]] = {}
    for entry in entries:
        strata.setdefault(entry.stratum or "", []).append(entry)
    shares = {name: divmod(total * len(members), len(entries)) for name, members in strata.items()}
    left = total - sum(whole for whole, _ in shares.values())
    by_rest = sorted(shares, key=lambda name: (-shares[name][1], name))
    extra = set(by_rest[:left])
    return [
        entry for name, members in strata.items() for entry in members[: shares[name][0] + (name in extra)]
    ]
