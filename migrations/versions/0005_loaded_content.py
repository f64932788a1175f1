"""What a load leaves: the content it loaded and a digest of the day's rows, so that it is not done twice."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the two columns; days loaded before have neither, and are compared run by run once more."""
    op.execute("ALTER TABLE project_days ADD COLUMN loaded_content text, ADD COLUMN loaded_digest bigint")


def downgrade() -> None:
    """Forget both."""
    op.execute("ALTER TABLE project_days DROP COLUMN loaded_content, DROP COLUMN loaded_digest")
