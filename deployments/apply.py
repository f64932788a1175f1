"""Register what the flows need on a Prefect server: `lse deploy`, or

    python deployments/apply.py [--prune] [--at-once N] [--notify TYPE/NAME]

`prefect.yaml` is the source of the deployments; here is what it cannot hold: the work pool, a limit over all
flow runs, and automations for runs that fail, are late, get stuck, die without a word, or never begin.
Repeating it changes nothing. With `--prune`, deployments and automations of `lse` that are declared no more
are deleted; Prefect itself leaves them, and their schedules, for ever.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes, ChangeFlowRunState, RunDeployment, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from flows._days import LIMIT
from lse.errors import ConfigurationError, TemporaryError

ROOT = Path(__file__).parent.parent
POOL = "lse"
DAYS_AT_ONCE = 16
ALERTS = "alerts/alerts"
"""The deployment that tells what is wrong."""

_OURS: dict[str, str | list[str]] = {"prefect.resource.id": "prefect.tag.lse"}
_WATCHED: dict[str, str | list[str]] = {"prefect.resource.id": "prefect.tag.lse-watched"}
"""All but `alerts` itself, or a failure to tell would be told for ever."""

_ENDS = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Crashed", "Cancelled")}
_HEARTBEAT = "prefect.flow-run.heartbeat"
_SILENCE = timedelta(seconds=90)
"""A run sends a heartbeat every 30 s (`prefect.yaml`); after three that are missing it is dead."""
_TAKEN = {f"prefect.flow-run.{state}" for state in ("Pending", "Submitting", "InfrastructurePending")}
_BEGUN = {f"prefect.flow-run.{state}" for state in ("Running", "AwaitingConcurrencySlot", "AwaitingRetry")}
_START = timedelta(minutes=5)
"""A run that a worker took runs within seconds, on a busy machine within a minute (measured)."""
_STUCK = timedelta(hours=12)
"""Longer than a night's sweep takes; a backfill says so once more when it goes on."""


def apply(*, prune: bool = False, at_once: int = 4, notify: str | None = None) -> Iterator[str]:
    """Register everything; yields a line about each part.

    Raises `ConfigurationError` when there is no such block or Prefect refuses a deployment, `TemporaryError`
    when the server does not answer.
    """
    with get_client(sync_client=True) as client:
        if error := client.api_healthcheck():
            raise TemporaryError(
                f"The Prefect server does not answer ({type(error).__name__}).", hint="Check PREFECT_API_URL."
            )
        yield f"work pool {POOL}: {'made' if _make_pool(client, at_once) else 'there already'}"
        client.upsert_global_concurrency_limit_by_name(LIMIT, DAYS_AT_ONCE)
        yield f"limit {LIMIT}: {DAYS_AT_ONCE} project days at once"
        _deploy()
        yield f"deployments: {len(declared())}"
        yield from _tidy(client, prune)
        yield from _automate(client, notify, prune)


def declared() -> list[dict[str, Any]]:
    """The deployments of `prefect.yaml`."""
    content = yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))
    return list(content["deployments"])


def automations(told: list[ActionTypes]) -> list[AutomationCore]:
    """The automations; `told` is what is done to let people know."""
    return [
        _automation(
            "lse: failed run", {f"prefect.flow-run.{state}" for state in ("Failed", "Crashed")}, told
        ),
        _automation("lse: late run", {"prefect.flow-run.Late"}, told),
        AutomationCore(
            name="lse: stuck run",
            tags=["lse"],
            trigger=_absence(after={"prefect.flow-run.Running"}, expect=_ENDS, within=_STUCK),
            actions=told,
        ),
        AutomationCore(
            name="lse: dead run",
            tags=["lse"],
            trigger=_absence(after={_HEARTBEAT}, expect={_HEARTBEAT, *_ENDS}, within=_SILENCE),
            actions=[_crash("No heartbeat: its process, worker or machine is gone.")],
        ),
        # It never had a heartbeat, and holds its place in the deployment's limit for minutes (measured).
        AutomationCore(
            name="lse: lost run",
            tags=["lse"],
            trigger=_absence(after=_TAKEN, expect={*_BEGUN, *_ENDS}, within=_START),
            actions=[_crash("It never began: the worker that took it, or its machine, is gone.")],
        ),
    ]


def _crash(message: str) -> ChangeFlowRunState:
    return ChangeFlowRunState(name=None, state=StateType.CRASHED, force=False, message=message)


def _automation(name: str, expect: set[str], actions: list[ActionTypes]) -> AutomationCore:
    trigger = EventTrigger(
        expect=expect,
        match_related=_WATCHED,
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
    )
    return AutomationCore(name=name, tags=["lse"], trigger=trigger, actions=actions)


def _absence(*, after: set[str], expect: set[str], within: timedelta) -> EventTrigger:
    """What fires when nothing of `expect` follows `after` in time, for each flow run."""
    return EventTrigger(
        after=after,
        expect=expect,
        match_related=_OURS,
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=within,
    )


def _make_pool(client: SyncPrefectClient, at_once: int) -> bool:
    """Make the process work pool; False when it is there already, whose limit is set anew then."""
    try:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", concurrency_limit=at_once))
    except ObjectAlreadyExists:
        client.update_work_pool(POOL, WorkPoolUpdate(concurrency_limit=at_once))
        return False
    return True


def _deploy() -> None:
    """Have Prefect read `prefect.yaml`."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        raise ConfigurationError(
            "Prefect refused a deployment.", hint="Type `prefect deploy --all` to see what it says."
        )


def _tidy(client: SyncPrefectClient, prune: bool) -> Iterator[str]:
    """Deployments tagged `lse` on the server that the file does not name."""
    names = {deployment["name"] for deployment in declared()}
    for found in client.read_deployments():
        if "lse" in found.tags and found.name not in names:
            if prune:
                client.delete_deployment(found.id)
            yield f"deployment {found.name}: {'deleted' if prune else 'declared no more, use --prune'}"


def _automate(client: SyncPrefectClient, notify: str | None, prune: bool) -> Iterator[str]:
    """Make or renew the automations, each by its name."""
    wanted = automations(_told(client, notify))
    there = {found.name: found for found in client.read_automations() if found.name.startswith("lse: ")}
    for automation in wanted:
        if found := there.pop(automation.name, None):
            client.update_automation(found.id, automation)
        else:
            client.create_automation(automation)
    yield f"automations: {', '.join(each.name.removeprefix('lse: ') for each in wanted)}"
    for name, found in there.items():
        if prune:
            client.delete_automation(found.id)
        yield f"automation {name}: {'deleted' if prune else 'declared no more, use --prune'}"


def _told(client: SyncPrefectClient, notify: str | None) -> list[ActionTypes]:
    """A message through the block, which the server sends without any worker; else a run of `alerts`."""
    if notify is None:
        deployment = client.read_deployment_by_name(ALERTS)
        return [
            RunDeployment(source="selected", deployment_id=deployment.id, parameters=None, job_variables=None)
        ]
    kind, _, name = notify.partition("/")
    try:
        block = client.read_block_document_by_name(name, kind)
    except ObjectNotFound:
        raise ConfigurationError(
            f"Prefect has no block {notify!r}.", hint="Make it in Prefect's user interface, under Blocks."
        ) from None
    subject = "lse: {{ flow_run.name }} is {{ flow_run.state.name }}"
    body = "{{ flow_run.state.message }}\nType `lse alerts` to see what is wrong and what helps."
    return [SendNotification(block_document_id=block.id, subject=subject, body=body)]


def main() -> int:
    """Apply; the exit code is 0 unless an error is raised."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prune", action="store_true", help="delete what is declared no more")
    parser.add_argument("--at-once", type=int, default=4, help="flow runs side by side")
    parser.add_argument("--notify", help="a notification block, TYPE/NAME")
    for line in apply(**vars(parser.parse_args())):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
