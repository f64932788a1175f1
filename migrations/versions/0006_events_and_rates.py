"""What happened to each day, and the request rates that all processes share."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind text NOT NULL,
    severity text NOT NULL,
    project text,
    run_date date,
    step text,
    origin uuid,
    fingerprint text,
    data jsonb NOT NULL,
    CONSTRAINT events_are_small CHECK (octet_length(data::text) <= 4096)
);
CREATE INDEX events_follow ON events (xid, id);
CREATE INDEX events_kind ON events (kind, at);

CREATE TABLE rate_budgets (
    tenant uuid NOT NULL,
    calls integer NOT NULL,
    seconds double precision NOT NULL,
    taken bigint NOT NULL,
    times timestamptz[] NOT NULL,
    rest_until timestamptz,
    PRIMARY KEY (tenant, calls, seconds)
);
"""


def upgrade() -> None:
    """Make both tables, empty."""
    op.execute(_TABLES)


def downgrade() -> None:
    """Remove both with what they hold."""
    op.execute("DROP TABLE rate_budgets, events;")
