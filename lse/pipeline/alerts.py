"""`alerts`: what of the archive needs a person now, each with the command that helps; told once per cause."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

import requests

from lse.errors import TemporaryError
from lse.models import ProjectDay
from lse.models.fingerprint import fingerprint
from lse.pipeline.common import counted, options, settles_at
from lse.pipeline.projects import archived_projects
from lse.pipeline.status import ProjectStatus, Vanishing, known_days, statuses
from lse.pipeline.vanishing import ask_expiry
from lse.resources import Resources
from lse.store import LedgerEntry
from lse.store.events import Events
from lse.store.queries import read_queries

_SQL = read_queries("metrics.sql")
_BEHIND_DAYS = 2
"""From how many days on an archive is behind: with one, tonight's sweep may only be late."""
_POST_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that needs a person."""

    cause: str
    """The same for as long as it is the same thing: it is told once"""
    text: str
    command: str
    """What to type next"""


def alerts(resources: Resources, *, expiry_days: int = 7) -> Iterator[Alert]:
    """What is wrong now. Needs the store.

    First what is known here: failed, partial and missing days, differences, runs set aside since yesterday,
    and a day with far more errors than usual. Then what LangSmith, which is asked, deletes within
    `expiry_days` though it is not archived.
    """
    resources.store  # noqa: B018 - reachable and migrated, or said what to do
    known = known_days(resources)
    found = statuses(resources, sorted(archived_projects(resources)), known)
    for entries in known.values():
        yield from _of_entries(resources, entries)
    for status in found:
        yield from _of_status(resources, status)
    yield from _of_store(resources)
    yield from _of_expiry(resources, found, timedelta(days=expiry_days))


def _of_expiry(resources: Resources, found: Sequence[ProjectStatus], within: timedelta) -> Iterator[Alert]:
    for status in ask_expiry(resources, found, within=within).statuses:
        if soon := [each for each in status.vanishing if each.expires_at < resources.now() + within]:
            yield _expires(status, soon[0])


def new_alerts(resources: Resources, found: Sequence[Alert]) -> list[Alert]:
    """Those of `found` that were not told yet."""
    standing = _standing(resources)
    return [alert for alert in found if alert.cause not in standing]


def note_alerts(resources: Resources, found: Sequence[Alert]) -> None:
    """Write down that `found` were told, and that what was told earlier and is not among them is over."""
    events, standing = Events(resources.database_url), _standing(resources)
    for alert in found:
        if alert.cause not in standing:
            events.write("alert.raised", origin=resources.origin, cause=alert.cause, text=alert.text)
    for cause in standing - {alert.cause for alert in found}:
        events.write("alert.cleared", origin=resources.origin, cause=cause)


def forget_old_events(resources: Resources) -> None:
    """Remove events that are older than they are kept, but for alerts that still stand."""
    Events(resources.database_url).forget()


def post(address: str, told: Sequence[Alert]) -> None:
    """Send alerts to a webhook: `text` for people, as Slack takes it, and each of them for programs.

    Raises `TemporaryError`, which does not name the address, since it may hold a token.
    """
    body = {"text": as_text(told), "alerts": [asdict(alert) for alert in told]}
    try:
        answer = requests.post(address, json=body, timeout=_POST_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        raise TemporaryError(f"The alerts could not be sent ({type(error).__name__}).") from None
    if answer.status_code >= 300:
        raise TemporaryError(f"The address for alerts answered {answer.status_code}.")


def as_text(told: Iterable[Alert]) -> str:
    """A line for each alert, and below it the command that helps."""
    return "\n".join(f"{alert.text}\n    {alert.command}" for alert in told)


def _of_entries(resources: Resources, entries: Sequence[LedgerEntry]) -> Iterator[Alert]:
    """Of one project: failed steps by what they say, and the last day that is partial or differs."""
    failed = {(e.failed_step, fingerprint(e.failure)): e for e in entries if _has_failed(e)}
    for (step, said), entry in failed.items():
        yield Alert(
            f"failed/{entry.project}/{step}/{said}",
            f"{entry.day}: {step} failed: {entry.failure}",
            f"lse archive full-sweep {options(entry.day)}",
        )
    partial = [e for e in entries if e.complete is False and settles_at(resources, e.day) < resources.now()]
    if partial:
        yield _about(
            "partial", partial, "not proved complete", f"lse archive fetch {options(partial[-1].day)}"
        )
    differs = [e for e in entries if e.differences]
    if differs:
        command = f"lse archive verify {options(differs[-1].day)}"
        yield _about("differs", differs, "whose copies differ", command)


def _has_failed(entry: LedgerEntry) -> bool:
    return entry.failed_step is not None and entry.complete is not False


def _about(kind: str, entries: Sequence[LedgerEntry], what: str, command: str) -> Alert:
    last = entries[-1]
    text = f"{last.project}: {counted(len(entries), 'day')} {what}, the last {last.run_date}"
    return Alert(f"{kind}/{last.day}", text, command)


def _of_status(resources: Resources, status: ProjectStatus) -> Iterator[Alert]:
    day_before = resources.now().date() - timedelta(days=_BEHIND_DAYS)
    if any(day <= day_before for day in status.missing) or (status.lag or 0) >= _BEHIND_DAYS:
        last = status.last_complete
        missing = f", {counted(len(status.missing), 'day')} missing" if status.missing else ""
        text = f"{status.project}: the last complete day is {last}{missing}"
        yield Alert(f"behind/{status.project}/{last}", text, _sweep(status.project))


def _expires(status: ProjectStatus, first: Vanishing) -> Alert:
    text = (
        f"{status.project}: LangSmith deletes traces of {first.day} that are not archived"
        f" from {first.expires_at:%Y-%m-%d %H:%M} UTC on"
    )
    return Alert(f"expiry/{status.project}/{first.day}", text, _sweep(status.project))


def _of_store(resources: Resources) -> list[Alert]:
    now = resources.now()
    yesterday = now.date() - timedelta(days=1)
    grown = _rows(resources, "quarantine_growth", now=now)
    spikes = _rows(resources, "error_spikes", day=yesterday)
    return [_quarantined(row) for row in grown] + [_spike(row, yesterday) for row in spikes]


def _quarantined(row: dict[str, Any]) -> Alert:
    day = ProjectDay(row["project"], row["run_date"])
    text = f"{day}: {counted(row['items'], 'item')} could not be loaded and stand in quarantine"
    return Alert(f"quarantine/{day}", text, f"lse archive to-db {options(day)} --verbose")


def _spike(row: dict[str, Any], day: date) -> Alert:
    share, usual = row["failed"] / row["runs"], row["median"]
    text = (
        f"{row['project']}/{day}: {row['failed']:,} of {row['runs']:,} runs failed ({share:.1%});"
        f" the median of the week before is {usual:.1%}"
    )
    command = f"lse report errors {options(ProjectDay(row['project'], day))}"
    return Alert(f"errors/{row['project']}/{day}", text, command)


def _sweep(project: str) -> str:
    return f"lse archive sweep {options(ProjectDay(project, date.min)).rpartition(' --date')[0]}"


def _standing(resources: Resources) -> set[str]:
    return {row["cause"] for row in _rows(resources, "standing_alerts")}


def _rows(resources: Resources, name: str, **parameters: Any) -> list[dict[str, Any]]:
    return resources.store.query(_SQL[name].decode(), parameters)
