"""An option that takes one value is given once: of two, the parser would silently keep the last."""

from typing import Any

from typer import Context, Typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from lse.errors import UsageError


class _Command(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _refuse_repeated(self, ctx, args)
        return super().parse_args(ctx, args)


class _Group(TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _refuse_repeated(self, ctx, args)
        return super().parse_args(ctx, args)


def refuse_repeated_options(app: Typer) -> None:
    """Have all commands of `app`, and those of its groups, refuse a second value with a `UsageError`."""
    app.info.cls = _Group
    for command in app.registered_commands:
        command.cls = _Command
    for group in app.registered_groups:
        if group.typer_instance is not None:
            refuse_repeated_options(group.typer_instance)


def _refuse_repeated(command: TyperCommand | TyperGroup, ctx: Context, args: list[str]) -> None:
    single = [
        option
        for option in command.params
        if isinstance(option, TyperOption) and not (option.multiple or option.count or option.is_flag)
    ]
    for option, values in zip(single, _all_values(command, ctx, args, single), strict=True):
        if len(values) > 1:
            given = ", ".join(map(str, values))
            raise UsageError(f"{option.opts[0]} is given {len(values)} times: {given}.", hint="Give it once.")


def _all_values(
    command: TyperCommand | TyperGroup, ctx: Context, args: list[str], options: list[TyperOption]
) -> list[list[Any]]:
    """What `args` hold for each of `options`, as the parser finds it when all of them may be repeated."""
    for option in options:
        option.multiple = True
    try:
        found, _, _ = command.make_parser(ctx).parse_args(args=list(args))
    finally:
        for option in options:
            option.multiple = False
    return [found.get(option.name or "", []) for option in options]
