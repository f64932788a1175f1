"""The ledger keeps what is written into it, column by column, and takes nothing else."""

from datetime import UTC, date, datetime

import pytest

from lse.models import ProjectDay
from lse.store import Store
from lse.store.ledger import LedgerEntry

DAY = ProjectDay("chat", date(2025, 9, 13))
AT = datetime(2025, 9, 14, 3, tzinfo=UTC)


def test_what_is_written_stands_beside_what_was_written_before(store: Store) -> None:
    assert store.ledger(DAY) is None

    store.record(DAY, complete=False, runs=3, fetched_at=AT)
    store.record(DAY, complete=True, zip_size=2**40)

    written = LedgerEntry(
        project="chat", run_date=DAY.day, complete=True, runs=3, fetched_at=AT, zip_size=2**40
    )
    assert store.ledger(DAY) == written
    assert written.day == DAY


def test_a_column_that_there_is_not_is_refused_and_none_at_all_makes_no_entry(store: Store) -> None:
    with pytest.raises(TypeError, match="the ledger has no column sise, weight"):
        store.record(DAY, weight=1, sise=2, complete=True)
    store.record(DAY)
    assert store.ledger(DAY) is None
