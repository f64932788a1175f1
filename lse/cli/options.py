"""Options that several commands share."""

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lse.resources import Resources
    from lse.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

_flags: dict[str, Any] = {}


def set_flags(**flags: Any) -> None:
    """Keep the options given before the command; they win over environment and `.env`."""
    _flags.update(flags)


def export_flags() -> None:
    """Put the options given before the command into the environment, for code that reads settings itself."""
    os.environ.update(
        {f"LSE_{name.upper()}": str(value) for name, value in _flags.items() if value is not None}
    )


def settings() -> "Settings":
    """The settings in force for this command."""
    from lse.settings import load_settings

    return load_settings(**_flags)


def resources() -> "Resources":
    """What the steps work with, for this command."""
    from lse.resources import Resources

    return Resources(settings())
