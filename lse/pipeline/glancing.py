"""`verify --quick`: sizes, counts and hashes as they are noted. No content is read."""

from lse.archive.layout import archived_files, trace_of_file
from lse.archive.manifest import Manifest
from lse.archive.trace_file import DamagedArchive
from lse.archive.zip import open_zip
from lse.models import ProjectDay
from lse.pipeline.common import counted, was_pruned
from lse.pipeline.copies import Copies, Records, find_in_target
from lse.pipeline.target_copy import holds
from lse.resources import Resources
from lse.verify import Difference


def glance(resources: Resources, day: ProjectDay, copies: Copies, records: Records) -> None:
    """Compare what the copies of `day` say of themselves: what is gone, cut, added or stale as a whole."""
    manifest = _glance_at_zip(resources, day, copies, records)
    _glance_at_files(resources, day, copies, records, manifest)
    _glance_at_target(resources, day, copies, records, manifest)
    _glance_at_store(resources, day, copies, records, manifest)


def _glance_at_zip(
    resources: Resources, day: ProjectDay, copies: Copies, records: Records
) -> Manifest | None:
    path, entry = resources.zip_path(day), records.ledger
    if not path.exists():
        if was_pruned(resources, day, "zip"):
            copies.pruned.append("zip")
        elif entry and entry.packed_at:
            copies.miss("zip", path.name)
        return None
    try:
        with open_zip(path) as archive:
            manifest = archive.manifest
    except DamagedArchive as error:
        copies.damaged("zip", error.message)
        return None
    copies.held["zip"] = f"{manifest.counts['runs']:,}"
    if records.content_sha256 not in (None, manifest.content_sha256):
        copies.differences.append(Difference("differs", "zip", path.name))
    return manifest


def _glance_at_files(
    resources: Resources, day: ProjectDay, copies: Copies, records: Records, manifest: Manifest | None
) -> None:
    files = archived_files(resources.folder(day))
    if was_pruned(resources, day, "files"):
        copies.pruned.append("files")
        return
    if not files:
        if records.runs:
            copies.miss("files", f"every trace file of {day}")
        return
    traces = sum(trace_of_file(path.name) is not None for path in files)
    copies.held["files"] = counted(traces, "trace")
    if manifest is None or records.content_sha256 not in (None, manifest.content_sha256):
        if records.fetch and traces < records.fetch.traces:
            copies.miss("files", f"{records.fetch.traces - traces} of {records.fetch.traces} traces")
        return
    sizes, listed = (
        {path.name: path.stat().st_size for path in files},
        {each.path: each.size for each in manifest.files},
    )
    for name in sorted(sizes.keys() | listed.keys()):
        if name not in sizes:
            copies.miss("files", name)
        elif name not in listed:
            copies.differences.append(Difference("extra", "files", name))
        elif sizes[name] != listed[name]:
            copies.differences.append(Difference("differs", "files", name))


def _glance_at_target(
    resources: Resources, day: ProjectDay, copies: Copies, records: Records, manifest: Manifest | None
) -> None:
    stored, entry = find_in_target(resources, day, copies, records), records.ledger
    if stored is None:
        return
    is_zip = entry is not None and (entry.zip_size, entry.zip_md5) == (stored.size, stored.md5)
    content = records.content_sha256 or (manifest.content_sha256 if manifest else None)
    if content is None and (entry is None or entry.zip_md5 is None):
        copies.held["target"] = "there, and nothing to compare it with"
        return
    same = is_zip or (content is not None and holds(stored, content))
    copies.held["target"] = "as noted" if same else "other bytes"
    if not same:
        copies.differences.append(Difference("differs", "target", stored.path))


def _glance_at_store(
    resources: Resources, day: ProjectDay, copies: Copies, records: Records, manifest: Manifest | None
) -> None:
    if resources.ledger is None:
        return
    rows, entry = resources.ledger.count_rows(day), records.ledger
    copies.quarantined = rows["quarantined"]
    if not rows["runs"] and not (entry and entry.loaded_at):
        return
    copies.held["store"] = f"{rows['runs']:,}"
    copies.runs = rows["runs"]
    wanted = entry.loaded_runs if entry and entry.loaded_runs is not None else None
    if manifest is not None:
        copies.runs = manifest.counts["runs"]
        wanted = copies.runs if not rows["quarantined"] else wanted
    if wanted is not None and rows["runs"] < wanted:
        copies.miss("store", f"{wanted - rows['runs']} of {wanted} runs")
    elif wanted is not None and rows["runs"] > wanted:
        copies.differences.append(
            Difference("extra", "store", f"{rows['runs'] - wanted} of {rows['runs']} runs")
        )
    if manifest is not None and not rows["quarantined"] and rows["feedback"] != manifest.counts["feedback"]:
        copies.differences.append(Difference("differs", "store", "the number of feedback records"))
