"""What evaluation services were asked, and what they answered."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLE = """
CREATE TABLE evaluation_requests (
    request_id uuid PRIMARY KEY,
    dataset text NOT NULL,
    experiment_prefix text NOT NULL,
    eval_type text NOT NULL,
    endpoint text NOT NULL,
    legacy boolean NOT NULL,
    requested_at timestamptz NOT NULL,
    answered_at timestamptz,
    status integer,
    attempts integer,
    answer text,
    failure text
);
"""


def upgrade() -> None:
    """Make the table."""
    op.execute(_TABLE)


def downgrade() -> None:
    """Remove it with what it holds."""
    op.execute("DROP TABLE evaluation_requests;")
