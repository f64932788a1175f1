"""The step `restore`: trace files back from the target, or from the local zip."""

import tempfile
from pathlib import Path

from lse.archive.layout import archive_name
from lse.archive.restore import restore_zip
from lse.errors import UsageError
from lse.models import Progress, ProjectDay, StepResult
from lse.pipeline.common import counted, no_progress
from lse.resources import Resources


def restore(
    resources: Resources, day: ProjectDay, progress: Progress = no_progress, *, force: bool = False
) -> StepResult:
    """Bring the trace files of `day` back from the target, or else from the local zip."""
    path = resources.zip_path(day)
    with tempfile.TemporaryDirectory(prefix="lse-restore-") as scratch:
        path = _download(resources, day, Path(scratch) / path.name, progress) or path
        if not path.exists():
            raise UsageError(f"{path} does not exist, and no target holds the day.", hint="Set LSE_TARGET.")
        manifest, kept = restore_zip(path, resources.folder(day), day, force=force)
    moved = f"; what was there is in {kept}" if kept else ""
    summary = f"{counted(len(manifest.files), 'file')} in {resources.folder(day)}{moved}"
    return StepResult(
        "restore", "done", summary, {**manifest.counts, "content_sha256": manifest.content_sha256}
    )


def _download(resources: Resources, day: ProjectDay, path: Path, progress: Progress) -> Path | None:
    """Fetch the target's zip to `path`; None when no target is set, or it holds none."""
    if resources.settings.target is None or resources.target.find(archive_name(day)) is None:
        return None
    resources.target.get(archive_name(day), path, lambda got: progress(got, None))
    return path
