"""What every file of `lse/sources` promises."""

import ast
import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import lse.sources
from lse.errors import ConfigurationError
from lse.settings import load_settings
from lse.sources import Source, open_source

NAMES = sorted(path.stem for path in Path(lse.sources.__file__).parent.glob("[!_]*.py"))
PROTOCOL = sorted(name for name in vars(Source) if not name.startswith("_"))


def module(name: str) -> ModuleType:
    return import_module(f"lse.sources.{name}")


def opened(name: str) -> Any:
    return module(name).open(load_settings(langsmith_api_key="key", langsmith_endpoint="http://127.0.0.1:9"))


def test_the_protocol_is_what_a_fetch_needs() -> None:
    assert PROTOCOL == [
        "check",
        "close",
        "cost",
        "count_runs",
        "counts",
        "download",
        "existing",
        "feedback",
        "first_expiry",
        "page",
        "project",
        "projects",
        "requests",
        "waited",
        "walk_name",
    ]
    assert NAMES == ["langsmith"]


@pytest.mark.parametrize("name", NAMES)
def test_a_source_file_is_described_and_offers_open(name: str) -> None:
    assert ast.get_docstring(ast.parse(Path(str(module(name).__file__)).read_text("utf-8")))
    assert list(inspect.signature(module(name).open).parameters) == ["settings", "rates", "call_seconds"]
    assert module(name).open.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_what_open_gives_has_every_part_of_the_protocol(name: str) -> None:
    source = opened(name)
    for part in PROTOCOL:
        promised, offered = getattr(Source, part), inspect.getattr_static(source, part)
        if callable(promised):
            assert inspect.signature(offered) == inspect.signature(promised), part
        else:
            assert isinstance(offered, property), part
    source.close()


@pytest.mark.parametrize("name", NAMES)
def test_opening_a_source_reaches_nothing_and_closing_twice_is_fine(name: str) -> None:
    source = opened(name)
    source.close()
    source.close()


def test_the_source_without_a_key_says_which_setting_is_missing() -> None:
    with pytest.raises(ConfigurationError, match="LANGSMITH_API_KEY is not set"):
        open_source(load_settings())
