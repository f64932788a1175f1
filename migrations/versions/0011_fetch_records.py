"""The ledger keeps the whole record of the last fetch, so that one whose folder was lost comes back."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; the next load of a day fills it."""
    op.execute("ALTER TABLE project_days ADD COLUMN fetch_record text")


def downgrade() -> None:
    """Drop it: the records beside the trace files say the same."""
    op.execute("ALTER TABLE project_days DROP COLUMN fetch_record")
