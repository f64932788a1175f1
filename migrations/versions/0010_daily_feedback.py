"""Feedback has daily figures as runs have, so that a report on it over months reads few rows."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_SCHEMA = """
CREATE TABLE daily_feedback (
    project text NOT NULL,
    run_date date NOT NULL,
    key text NOT NULL,
    feedback bigint NOT NULL,
    scored bigint NOT NULL,
    score numeric NOT NULL,
    PRIMARY KEY (project, run_date, key)
);
"""

_FIGURES = """
INSERT INTO daily_feedback
SELECT project, run_date, coalesce(key, ''), count(*), count(score), coalesce(sum(score), 0)
FROM feedback
GROUP BY 1, 2, 3;
"""


def upgrade() -> None:
    """Make the table and count what is there."""
    op.execute(_SCHEMA)
    op.execute(_FIGURES)


def downgrade() -> None:
    """Drop the table."""
    op.execute("DROP TABLE daily_feedback")
