"""Datasets for evaluation: built from the store, kept in LangSmith, and evaluated by a service."""

import contextlib
import logging
import uuid
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

from lse.archive.layout import project_slug
from lse.datasets import DatedRuns, TracedRun
from lse.datasets import _service as service
from lse.datasets._building import Built, build
from lse.datasets._builds import (
    Build,
    BuildRecord,
    Differences,
    builds,
    differences,
    find_build,
    keep,
)
from lse.datasets._examples import name_in, read_examples
from lse.datasets._recipes import find_recipe, recipe_names, recipe_summary
from lse.datasets._service import require_success
from lse.datasets._sync import Plan, plan_sync, sync
from lse.datasets._writing import form_of, write
from lse.errors import ConfigurationError, LseError, TemporaryError
from lse.langsmith.http import LangSmithHttp, Patience
from lse.models import Progress, ProjectDay, each_day
from lse.pipeline.common import no_progress
from lse.pipeline.reporting import coverage_of_store
from lse.reports import Coverage, Request
from lse.resources import Resources
from lse.settings import Settings
from lse.store import evaluations
from lse.store.evaluations import EvaluationRequest

__all__ = [
    "Build",
    "BuildRecord",
    "DatasetRequest",
    "Differences",
    "EvaluationRequest",
    "Plan",
    "built_datasets",
    "coverage",
    "create_dataset",
    "dataset_file",
    "diff_datasets",
    "evaluation_requests",
    "recipes",
    "require_success",
    "run_evaluation",
    "shown_dataset",
    "upload_dataset",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DatasetRequest:
    """Which dataset: the traces of one project on some UTC days, both ends included, and a recipe."""

    project: str
    start: date
    end: date
    recipe: str
    name: str | None = None
    """What the dataset is called; by default after project, recipe and days."""

    @property
    def dataset_name(self) -> str:
        """`chat_token_name_2025-09-01_2025-09-30`, unless it was named."""
        return self.name or f"{self.project}_{self.recipe.replace('-', '_')}_{self.start}_{self.end}"

    @property
    def file_name(self) -> str:
        """The same as a name that every file system takes."""
        return project_slug(self.dataset_name)

    @property
    def days(self) -> list[ProjectDay]:
        """Each day, ascending."""
        return [ProjectDay(self.project, day) for day in each_day(self.start, self.end)]


def create_dataset(
    resources: Resources, request: DatasetRequest, output: Path | None = None, *, form: str | None = None
) -> BuildRecord:
    """Build a dataset from the store in one pass, write it to `output`, and keep it below the archive folder.

    Without `output` it is only kept. `form` is by default what the file's name says. Raises `NoExamples` when
    no trace becomes an example; nothing is written then.
    """
    recipe = find_recipe(request.recipe, resources.settings.recipes_dir)
    chosen = form_of(output, form) if output else None
    window = f"{request.start}/{request.end}"
    with build(_runs(resources, request.days), recipe, window) as built:
        record = _record(request, recipe.sha256, built)
        keep(_folder(resources.settings), record, built.lines())
        if output and chosen:
            write(output, built.lines(), chosen, recipe.rules.chat)
    return record


def coverage(resources: Resources, request: DatasetRequest) -> Coverage:
    """Which days of the dataset are complete in the store, which in part, and which are missing."""
    return coverage_of_store(resources.reader, Request(request.start, request.end, request.project))


def upload_dataset(
    resources: Resources,
    file: Path,
    name: str,
    *,
    description: str = "",
    overwrite: bool = False,
    prune: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
    patience: Patience | None = None,
) -> Plan:
    """Bring the LangSmith dataset called `name` to the examples of `file`; what was, or would be, done.

    Examples that differ there are replaced with `overwrite`, those that only LangSmith has are removed with
    `prune`. With `dry_run` nothing is written. A second sync writes nothing; one that broke off is finished
    by the next.
    """
    examples = read_examples(file)
    with contextlib.closing(LangSmithHttp(resources.settings, patience, resources.rates)) as http:
        if dry_run:
            return plan_sync(http, name, examples, overwrite=overwrite, prune=prune)
        return sync(
            http,
            name,
            examples,
            description=description,
            overwrite=overwrite,
            prune=prune,
            progress=progress,
        )


def run_evaluation(
    resources: Resources,
    dataset: str,
    prefix: str,
    eval_type: str,
    *,
    endpoint: str | None = None,
    legacy: bool = False,
    key: uuid.UUID | None = None,
    timeout: float = 300,
) -> EvaluationRequest:
    """Ask the evaluation service for an experiment on `dataset`; the request and its answer are recorded.

    `timeout` is in seconds, for all attempts. Raises `TemporaryError` when there was no answer, and
    `ConfigurationError` for a missing endpoint or secret. The answer may be a refusal: see `require_success`.
    """
    chosen = _service(resources.settings, endpoint)
    key = key or uuid.uuid4()
    if legacy:
        request = service.legacy_request(dataset, prefix, eval_type, key=key)
    else:
        request = service.signed_request(chosen, dataset, prefix, eval_type, key=key, now=resources.now())
    asked = EvaluationRequest(
        request_id=key,
        dataset=dataset,
        experiment_prefix=prefix,
        eval_type=eval_type,
        endpoint=_bare(chosen.endpoint),
        legacy=legacy,
        requested_at=resources.now(),
    )
    _note(resources, asked)
    try:
        answer = service.send(chosen, request, service.Patience(total=timeout))
    except LseError as error:
        _note(resources, replace(asked, failure=error.message))
        raise
    answered = replace(
        asked,
        answered_at=resources.now(),
        status=answer.status,
        attempts=answer.attempts,
        answer=answer.text,
    )
    _note(resources, answered)
    return answered


def recipes(settings: Settings) -> dict[str, str]:
    """Every recipe by name, and what it is for in one line."""
    return {name: recipe_summary(name, settings.recipes_dir) for name in recipe_names(settings.recipes_dir)}


def built_datasets(settings: Settings) -> list[Build]:
    """Every dataset that was built here, by name, the latest first."""
    return builds(_folder(settings))


def dataset_file(settings: Settings, wanted: str) -> tuple[Path, str]:
    """The file that `wanted` means, a path or a dataset that was built, `name@hash`; and its name."""
    if (path := Path(wanted)).is_file():
        return path, name_in(path)
    build = find_build(_folder(settings), wanted)
    return build.path, build.record.name


def shown_dataset(settings: Settings, wanted: str) -> Build:
    """The build called `wanted`. Raises `UsageError` when there is none."""
    return find_build(_folder(settings), wanted)


def diff_datasets(settings: Settings, one: str, other: str) -> Differences:
    """What the second of two datasets, files or builds, has that the first has not."""
    first, second = (read_examples(dataset_file(settings, wanted)[0]) for wanted in (one, other))
    return differences(first, second)


def evaluation_requests(resources: Resources, limit: int = 20) -> list[EvaluationRequest]:
    """The last requests to evaluation services, the latest first."""
    return evaluations.latest(resources.database_url, limit)


def _runs(resources: Resources, days: list[ProjectDay]) -> DatedRuns:
    for day in days:
        yield day, map(TracedRun._make, resources.reader.runs_with_feedback(day))


def _record(request: DatasetRequest, recipe_sha256: str, built: Built) -> BuildRecord:
    summary = built.summary
    return BuildRecord(
        name=request.dataset_name,
        recipe=request.recipe.replace("-", "_"),
        recipe_sha256=recipe_sha256,
        project=request.project,
        start=request.start.isoformat(),
        end=request.end.isoformat(),
        content_sha256=built.sha256,
        examples=summary.kept,
        considered=summary.considered,
        dropped=summary.dropped,
        split=summary.split,
    )


def _folder(settings: Settings) -> Path:
    return settings.archive_dir / "datasets"


def _service(settings: Settings, endpoint: str | None) -> service.Service:
    chosen = endpoint or settings.eval_endpoint
    if not chosen:
        raise ConfigurationError(
            "No evaluation service is set.", hint="Set LSE_EVAL_ENDPOINT, or give --endpoint."
        )
    user, password, secret = settings.eval_username, settings.eval_password, settings.eval_secret
    return service.Service(
        chosen,
        secret.get_secret_value() if secret else None,
        (user, password.get_secret_value()) if user and password else None,
    )


def _bare(endpoint: str) -> str:
    """The address without what may be secret in it: user, password, query."""
    url = urlsplit(endpoint)
    host = f"{url.hostname}:{url.port}" if url.port else url.hostname or ""
    return f"{url.scheme}://{host}{url.path}"


def _note(resources: Resources, request: EvaluationRequest) -> None:
    """Record `request`; a database that is away does not keep an evaluation from being asked for."""
    try:
        evaluations.record(resources.database_url, request)
    except (TemporaryError, ConfigurationError) as error:
        logger.warning("The request is not recorded: %s", error)
