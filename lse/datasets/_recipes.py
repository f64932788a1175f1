"""Recipes by name: those of this folder, and those in the user's."""

import ast
import importlib
import importlib.util
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import yaml

from lse.datasets import Recipe, Rules
from lse.datasets._hashing import canonical, sha256
from lse.datasets._keys import check_key
from lse.datasets._mapping import ADDED
from lse.datasets._paths import parse_path
from lse.datasets._redaction import redactor
from lse.errors import ConfigurationError, LseError, UsageError
from lse.models.filter import RunFilter

_OURS = Path(__file__).parent


def recipe_names(folder: Path | None = None) -> list[str]:
    """The names of all recipes, as typed on the command line."""
    return sorted(_files(folder))


def recipe_summary(name: str, folder: Path | None = None) -> str:
    """What the recipe called `name` is for, in one line; its code is not run."""
    path = _files(folder)[name]
    if path.suffix == ".py":
        return (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]
    found = _yaml(path)
    return str(found.get("summary", ""))


def find_recipe(name: str, folder: Path | None = None) -> Recipe:
    """The recipe called `name`; one in the user's `folder` wins over ours.

    Raises `UsageError` naming those there are, and `ConfigurationError` for a file that is no recipe.
    """
    files = _files(folder)
    path = files.get(name.replace("_", "-"))
    if path is None:
        raise UsageError(f"There is no recipe {name!r}.", hint=f"Recipes: {', '.join(sorted(files))}.")
    module = _module(path) if path.suffix == ".py" else None
    rules = _rules_of(path, module)
    try:
        check(rules)
    except LseError as error:
        raise _no_recipe(path, error.message) from None
    derive = getattr(module, "derive", None)
    code = Path(inspect.getfile(derive)).read_bytes() if derive else b""
    digest = sha256(canonical(msgspec.to_builtins(rules)) + code)
    return Recipe(name.replace("-", "_"), rules, derive, digest)


def check(rules: Rules) -> None:
    """Raise `UsageError` for a path, key, pattern, kind or number in `rules` that cannot be."""
    for part in (rules.inputs, rules.outputs, rules.metadata):
        for field in part.values():
            _check_paths(field.paths)
    _check_rest(rules)
    if taken := set(rules.metadata) & set(ADDED):
        raise UsageError(f"metadata.{min(taken)} is written by lse itself.")
    redactor(rules.redact)
    RunFilter.parse(rules.where)
    if rules.feedback and rules.feedback.comment_pattern:
        _check_pattern(rules.feedback.comment_pattern)
    if rules.sample and rules.sample.total < 1:
        raise UsageError("sample.total must be at least 1.")
    if rules.split and not (min(rules.split.parts.values(), default=0) > 0):
        raise UsageError("split.parts needs names with weights above 0.")


def _check_rest(rules: Rules) -> None:
    if rules.feedback:
        _check_paths(rules.feedback.agrees_with)
    if rules.confidence:
        _check_paths(rules.confidence.paths)
    deduplicate, sample, split = rules.deduplicate, rules.sample, rules.split
    keys = [*(deduplicate.by if deduplicate else ()), split.by if split else None]
    keys += [sample.per, sample.one_per] if sample else []
    for key in filter(None, keys):
        check_key(key)
    _check_paths([*(deduplicate.prefer if deduplicate else ()), *(sample.keep if sample else ())])


def _check_paths(paths: Any) -> None:
    for path in paths:
        parse_path(path)


def _check_pattern(pattern: str) -> None:
    try:
        groups = re.compile(pattern).groups
    except re.error:
        raise UsageError("feedback.comment_pattern is no regular expression.") from None
    if groups != 1:
        raise UsageError("feedback.comment_pattern needs exactly one group.")


def _files(folder: Path | None) -> dict[str, Path]:
    found = sorted(_OURS.glob("[!_]*.py"))
    if folder is not None:
        if not folder.is_dir():
            raise ConfigurationError(f"There is no folder {folder}.", hint="Check LSE_RECIPES_DIR.")
        found += sorted(path for path in folder.glob("[!_.]*") if path.suffix in (".py", ".yaml", ".yml"))
    return {path.stem.replace("_", "-"): path for path in found}


def _module(path: Path) -> ModuleType:
    if path.parent == _OURS:
        return importlib.import_module(f"lse.datasets.{path.stem}")
    spec = importlib.util.spec_from_file_location(f"lse_recipe_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise _no_recipe(path, "it cannot be imported")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (ImportError, NameError, SyntaxError, TypeError, AttributeError, ValueError) as error:
        raise _no_recipe(path, f"{type(error).__name__}: {error}") from error
    return module


def _rules_of(path: Path, module: ModuleType | None) -> Rules:
    if module is None:
        return _rules_from_yaml(path)
    rules = getattr(module, "RULES", None)
    if not isinstance(rules, Rules):
        raise _no_recipe(path, "it has no RULES")
    return rules


def _rules_from_yaml(path: Path) -> Rules:
    found = dict(_yaml(path))
    for part in ("inputs", "outputs", "metadata"):
        if isinstance(fields := found.get(part), dict):
            found[part] = {name: _whole_field(field) for name, field in fields.items()}
    try:
        return msgspec.convert(found, Rules)
    except msgspec.ValidationError as error:
        raise _no_recipe(path, str(error)) from None


def _whole_field(field: Any) -> Any:
    """A field as the file has it; a path or a list of paths stands for the whole field."""
    if isinstance(field, str):
        return {"paths": [field]}
    return {"paths": field} if isinstance(field, list) else field


def _yaml(path: Path) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        raise _no_recipe(path, "it is no YAML") from None
    if not isinstance(found, dict):
        raise _no_recipe(path, "it holds no mapping")
    return found


def _no_recipe(path: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is not a recipe: {reason.removesuffix('.')}.",
        hint="See docs/datasets.md for what a recipe holds.",
    )
