"""The notes beside a day's archive: whether they are as they were written."""

from collections.abc import Iterator
from pathlib import Path

from lse.archive.fetch_record import FetchRecord
from lse.archive.layout import FETCH_RECORD, LOG
from lse.archive.versions import check_log
from lse.pipeline.common import counted
from lse.verify import Difference


def check_notes(folder: Path, record: FetchRecord | None, noted: FetchRecord | None) -> Iterator[Difference]:
    """What is wrong with the notes in `folder`.

    `record` is what could be read of the last fetch there, `noted` what the ledger has of it.
    """
    if record is None and (folder / FETCH_RECORD).exists():
        yield Difference("damaged", "record", f"{FETCH_RECORD} is not as it was written")
    elif record is None and noted:
        yield Difference("damaged", "record", f"{FETCH_RECORD} is gone")
    lines, damaged = check_log(folder)
    for number in damaged:
        yield Difference("damaged", "log", f"line {number} of {LOG} is damaged")
    known = record or noted
    had = known.log_lines if known else None
    if had is not None and lines < had:
        yield Difference("damaged", "log", f"{LOG} lacks {counted(had - lines, 'line')} of {had}")
