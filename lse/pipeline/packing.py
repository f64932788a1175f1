"""The steps `pack` and `upload`: the zip of a day, and its copy in the target."""

import logging
from pathlib import Path
from typing import Any

from lse.archive.layout import archive_name
from lse.archive.manifest import Manifest, describe_folder
from lse.archive.trace_file import DamagedArchive
from lse.archive.zip import ZipInfo, describe_zip, open_zip, write_zip
from lse.errors import UsageError
from lse.models import Figure, Progress, ProjectDay, StepResult
from lse.pipeline.common import counted, is_empty, no_progress, note, options, sized
from lse.resources import Resources

logger = logging.getLogger(__name__)


def pack(resources: Resources, day: ProjectDay, progress: Progress = no_progress) -> StepResult:
    """Write the zip of `day` from its trace files; an existing zip of the same content stays as it is."""
    folder, path = resources.folder(day), resources.zip_path(day)
    if is_empty(resources, day):
        return StepResult("pack", "unchanged", "no traces on this day, so there is nothing to pack")
    manifest = describe_folder(folder, day)
    progress(0, None)
    before = _zip_content(path)
    unchanged = before == manifest.content_sha256
    info = describe_zip(path) if unchanged else write_zip(folder, manifest, path)
    figures: dict[str, Figure] = {
        **manifest.counts,
        "zip_bytes": info.size,
        "content_sha256": manifest.content_sha256,
    }
    note(resources, day, packed_at=resources.now(), **_zip_facts(manifest, info))
    verb = "unchanged, " if unchanged else ""
    summary = f"{verb}{counted(len(manifest.files), 'file')} in {path} ({sized(info.size)})"
    return StepResult("pack", "unchanged" if unchanged else "done", summary, {**figures, "path": str(path)})


def upload(resources: Resources, day: ProjectDay, progress: Progress = no_progress) -> StepResult:
    """Put the zip of `day` into the target and prove its bytes arrived; nothing is sent twice."""
    target, path = resources.target, resources.zip_path(day)
    if not path.exists():
        if is_empty(resources, day):
            return StepResult("upload", "unchanged", "no traces on this day, so there is nothing to upload")
        raise UsageError(f"{path} does not exist.", hint=f"Pack it first: lse archive zip {options(day)}")
    with open_zip(path) as archive:
        manifest = archive.manifest
    before = target.find(archive_name(day))
    properties = {
        "lse": "1",
        "project": day.project,
        "date": day.day.isoformat(),
        "content_sha256": manifest.content_sha256,
    }
    stored = target.put(archive_name(day), path, properties, lambda sent: progress(sent, path.stat().st_size))
    unchanged = before is not None and (before.id, before.md5) == (stored.id, stored.md5)
    note(
        resources,
        day,
        uploaded_at=resources.now(),
        target=target.name,
        target_id=stored.id,
        target_link=stored.link,
    )
    place = stored.link or f"{target.name}:{stored.path}"
    return StepResult(
        "upload",
        "unchanged" if unchanged else "done",
        f"{'unchanged, ' if unchanged else ''}{sized(stored.size)} at {place}",
        {"bytes": stored.size, "md5": stored.md5, "target": target.name, "link": place},
    )


def _zip_facts(manifest: Manifest, info: ZipInfo) -> dict[str, Any]:
    """What the ledger keeps of a zip."""
    return {
        "content_sha256": manifest.content_sha256,
        "zip_sha256": info.sha256,
        "zip_md5": info.md5,
        "zip_size": info.size,
    }


def _zip_content(path: Path) -> str | None:
    """The content hash of an existing zip; None when it must be written, because it is absent or damaged."""
    try:
        with open_zip(path) as archive:
            return archive.manifest.content_sha256
    except FileNotFoundError:
        return None
    except DamagedArchive as error:
        logger.warning("%s It is written again.", error)
        return None
