"""`lse alerts`: what needs a person now."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lse.cli.options import Json, resources
from lse.cli.output import print_json, print_line, tell
from lse.errors import ConfigurationError, DifferencesFound

if TYPE_CHECKING:
    from lse.pipeline.alerts import Alert
    from lse.resources import Resources


def alerts(
    expiry_days: Annotated[
        int, typer.Option(min=0, help="Warn of what LangSmith deletes within so many days.")
    ] = 7,
    notify: Annotated[
        bool, typer.Option("--notify", help="Send what was not told yet to LSE_ALERT_WEBHOOK.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what failed, is partial, missing, differs, expires soon or is quarantined; exit code 3 if any.

    What is known here comes first. Then LangSmith is asked, for half a minute at most, what it deletes soon.
    """
    from lse.pipeline.alerts import alerts as look

    found: list[Alert] = []
    with resources() as opened:
        for alert in look(opened, expiry_days=expiry_days):
            found.append(alert)
            if not json:
                _print(alert)
        if notify:
            _notify(opened, found)
    code = DifferencesFound.exit_code if found else 0
    if json:
        print_json({"exit_code": code, "alerts": list(map(asdict, found))})
    elif not found:
        print_line("nothing needs you")
    raise typer.Exit(code)


def _print(alert: "Alert") -> None:
    print_line(alert.text)
    tell(f"    {alert.command}")


def _notify(opened: "Resources", found: "list[Alert]") -> None:
    from lse.pipeline.alerts import forget_old_events, new_alerts, note_alerts, post

    address = opened.settings.alert_webhook
    if address is None:
        raise ConfigurationError(
            "LSE_ALERT_WEBHOOK is not set, so nobody can be told.", hint="Set it to the address of a webhook."
        )
    if fresh := new_alerts(opened, found):
        post(address.get_secret_value(), fresh)
    note_alerts(opened, found)
    forget_old_events(opened)
