"""The flow `alerts`: tells people what needs them, once per cause."""

from typing import Any, cast

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.blocks.core import Block
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows import _common, _days
from flows._spread import opened
from lse.errors import ConfigurationError, LseError
from lse.pipeline.alerts import Alert, alerts, as_text, forget_old_events, new_alerts, note_alerts, post
from lse.pipeline.common import counted
from lse.resources import Resources


@flow(name="alerts", flow_run_name=_common.due_run_name, persist_result=False)
def tell_alerts(block: str | None = None, expiry_days: int = 7) -> State[Any]:
    """Tell what is failed, partial, missing, differing, about to expire or quarantined; each cause once.

    Args:
        block: A notification block of Prefect, such as `slack-webhook/ops`; else LSE_ALERT_WEBHOOK is used.
        expiry_days: Warn of what LangSmith deletes within so many days.
    """
    try:
        found, fresh = look_and_tell(block, expiry_days)
    except LseError as error:
        return _common.final_state([_common.failure(error)])
    create_table_artifact(
        key="alerts",
        table=[{"what": alert.text, "type": alert.command} for alert in found[: _days.SHOWN]],
        description="What needs a person, and the command that helps",
    )
    return Completed(message=f"{counted(len(found), 'alert')}, {len(fresh)} of them told now")


@task(name="look and tell", **_common.STEP)
def look_and_tell(block: str | None, expiry_days: int) -> tuple[list[Alert], list[Alert]]:
    """What is wrong, and what of it was told now."""
    with opened() as resources:
        found = list(alerts(resources, expiry_days=expiry_days))
        fresh = new_alerts(resources, found)
        if fresh:
            _tell(resources, block, fresh)
        note_alerts(resources, found)
        forget_old_events(resources)
    return found, fresh


def _tell(resources: Resources, block: str | None, fresh: list[Alert]) -> None:
    """Send it. An address that was never set is said, since silence would look like health."""
    address = resources.settings.alert_webhook
    if block is not None:
        cast(Any, Block.load(block)).notify(as_text(fresh), subject="lse: something needs you")
    elif address is not None:
        post(address.get_secret_value(), fresh)
    else:
        raise ConfigurationError(
            f"There is nobody to tell of {counted(len(fresh), 'alert')}; first: {fresh[0].text}",
            hint="Set LSE_ALERT_WEBHOOK, or give the deployment `alerts` a block.",
        )
