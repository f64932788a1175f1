"""The ledger as one more copy: what it says of a day, compared with what is there."""

from collections.abc import Iterator

from lse.archive.zip import ZipInfo
from lse.pipeline.common import counted, fetch_facts
from lse.pipeline.copies import Records, packed_since_fetch
from lse.verify import Difference

_STATE = ("failed_step", "failure")
"""Later steps write these too."""


def compare_ledger(records: Records, info: ZipInfo | None, rows: int | None) -> Iterator[Difference]:
    """Where the ledger says other figures than the fetch record, the zip, or the store, which has `rows`.

    A ledger that knows less, since it was not there when a step was done, says nothing wrong. `rows` is
    None when the store's rows were not proved to be those of the archive.
    """
    entry, fetch = records.ledger, records.fetch
    if entry is None or entry.loaded_at is None:
        if rows:
            yield Difference("missing", "ledger", f"the load of {counted(rows, 'run')}")
    elif rows is not None and entry.loaded_runs != rows:
        yield _differs("loaded_runs")
    if entry is None:
        return
    if fetch and entry.fetched_at == fetch.time:
        facts = {name: value for name, value in fetch_facts(fetch).items() if name not in _STATE}
        yield from (_differs(name) for name, value in facts.items() if getattr(entry, name) != value)
        packed = fetch.content_sha256 and packed_since_fetch(entry)
        if packed and entry.content_sha256 != fetch.content_sha256:
            yield _differs("content_sha256")
    if info and entry.zip_size == info.size:
        agree = {"zip_sha256": entry.zip_sha256 == info.sha256, "zip_md5": entry.zip_md5 == info.md5}
        if any(agree.values()):
            yield from (_differs(name) for name, same in agree.items() if not same)


def _differs(name: str) -> Difference:
    return Difference("differs", "ledger", f"the figure {name}")
