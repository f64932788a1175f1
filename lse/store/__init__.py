"""The runs store: Postgres, as an index over the archive that can be rebuilt from it."""

from lse.store.ledger import LedgerEntry
from lse.store.loading import BATCH_RUNS, LoadResult
from lse.store.row_backup import RowKeys
from lse.store.store import Quarantined, Store

__all__ = ["BATCH_RUNS", "LedgerEntry", "LoadResult", "Quarantined", "RowKeys", "Store"]
