"""The primary key of `runs` begins with the trace, so none of its ids needs an index of its own."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_KEY = """
ALTER TABLE runs DROP CONSTRAINT runs_pkey;
ALTER TABLE runs ADD PRIMARY KEY ({columns});
"""

# Equal entries of a btree share their key, so this index takes a fiftieth of the place, and a load writes it
# at one spot.
_DAY = """
DROP INDEX runs_project_day;
CREATE INDEX runs_project_day ON runs ({columns});
"""


def upgrade() -> None:
    """Make two indexes anew, and drop one."""
    op.execute(_KEY.format(columns="trace_id, run_id, run_date"))
    op.execute("DROP INDEX runs_trace")
    op.execute(_DAY.format(columns="project, run_date"))


def downgrade() -> None:
    """Make the three as they were."""
    op.execute(_DAY.format(columns="project, run_date, trace_id"))
    op.execute("CREATE INDEX runs_trace ON runs (trace_id)")
    op.execute(_KEY.format(columns="run_date, trace_id, run_id"))
