"""`lse deploy`: everything that a Prefect server has to know."""

import importlib
import os
from pathlib import Path
from typing import Annotated

import typer

from lse.cli.output import print_line
from lse.errors import ConfigurationError


def deploy(
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Delete deployments and automations of lse that are declared no more."),
    ] = False,
    at_once: Annotated[int, typer.Option(min=1, help="Flow runs that workers may run side by side.")] = 4,
    notify: Annotated[
        str | None,
        typer.Option(
            help="A notification block, TYPE/NAME such as slack-webhook/ops, to tell of broken runs."
        ),
    ] = None,
) -> None:
    """Register work pool, deployments, limits and automations with the server of PREFECT_API_URL.

    From a checkout, as the deployments name its files. Repeating it changes nothing.
    """
    if not os.environ.get("PREFECT_API_URL"):
        raise ConfigurationError(
            "PREFECT_API_URL is not set, so there is no server to deploy to.",
            hint="Set it, such as http://127.0.0.1:4200/api, and start `prefect server start`.",
        )
    root = Path(__file__).parents[2]
    if not (root / "prefect.yaml").exists():
        raise ConfigurationError("`lse deploy` needs a checkout, with its prefect.yaml.")
    apply = importlib.import_module("deployments.apply")  # Prefect takes seconds to import
    for line in apply.apply(prune=prune, at_once=at_once, notify=notify):
        print_line(line)
