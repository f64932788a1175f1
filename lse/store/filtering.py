"""A `RunFilter` as SQL over `runs`, or over the rollups where they have the column."""

from typing import Any

from lse.errors import UsageError
from lse.models.filter import Condition, RunFilter

COLUMNS = {"name": "name", "status": "status", "type": "run_type", "model": "model", "error": "error"}
"""The columns that hold one text each; a fingerprint is worked out from the error by whoever reads it."""

METADATA = "coalesce(data -> 'extra' -> 'metadata' ->> {key}, data -> 'metadata' ->> {key})"
"""A value of a run's metadata; `{key}` stands for the parameter that names it."""


def filter_sql(filter: RunFilter, prefix: str) -> tuple[str, dict[str, Any]]:
    """The condition as SQL and its parameters, whose names begin with `prefix`; `true` without conditions.

    Raises `UsageError` for a fingerprint, which no column holds.
    """
    parts, parameters = ["true"], {}
    for number, condition in enumerate(filter):
        name = f"{prefix}{number}"
        parameters[name] = condition.value
        if condition.field.startswith("metadata."):
            parameters[f"{name}_key"] = condition.metadata_key
        parts.append(_condition_sql(condition, name))
    return " and ".join(parts), parameters


def _condition_sql(condition: Condition, name: str) -> str:
    value = f"%({name})s::text"
    if condition.field == "fingerprint":
        raise UsageError("The store cannot filter by fingerprint here.", hint="Filter by error~PART.")
    if condition.field == "tag":
        if condition.contains:
            return f"exists (select from unnest(tags) as tag where strpos(tag, {value}) > 0)"
        return f"({value} = any(tags) or {value} = '' and cardinality(tags) = 0)"
    column = COLUMNS.get(condition.field) or METADATA.format(key=f"%({name}_key)s::text")
    if condition.contains:
        return f"strpos({column}, {value}) > 0"
    # A plain comparison can use an index; a missing value counts as the empty text.
    return f"{column} = {value}" if condition.value else f"coalesce({column}, '') = {value}"
