"""The values that travel between the parts of `lse`: frozen, without I/O."""

from lse.models.day import ProjectDay, each_day, parse_day
from lse.models.holding import Entries, Holding, count_entries, pack_entries, read_entries
from lse.models.results import Figure, Progress, StepResult
from lse.models.run import Run, ServedRun, UnreadableRun, decode_run, parse_run
from lse.models.trace import RawFeedback, RawRun, StoredFile, Trace, content_digest, content_hash

__all__ = [
    "Entries",
    "Figure",
    "Holding",
    "Progress",
    "ProjectDay",
    "RawFeedback",
    "RawRun",
    "Run",
    "ServedRun",
    "StepResult",
    "StoredFile",
    "Trace",
    "UnreadableRun",
    "content_digest",
    "content_hash",
    "count_entries",
    "decode_run",
    "each_day",
    "pack_entries",
    "parse_day",
    "parse_run",
    "read_entries",
]
