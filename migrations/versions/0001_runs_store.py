"""The runs store: runs by month, the ledger of project days, quarantine and feedback."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE runs (
    run_date date NOT NULL,
    trace_id uuid NOT NULL,
    run_id uuid NOT NULL,
    parent_run_id uuid,
    session_id uuid,
    content_hash uuid NOT NULL,
    start_time timestamptz NOT NULL,
    end_time timestamptz,
    loaded_at timestamptz NOT NULL DEFAULT now(),
    prompt_tokens bigint,
    completion_tokens bigint,
    total_tokens bigint,
    sanitized boolean NOT NULL,
    project text NOT NULL,
    name text,
    run_type text,
    status text,
    symbol text,
    thread_id text,
    prompt_cost numeric,
    completion_cost numeric,
    total_cost numeric,
    tags text[] NOT NULL,
    error text,
    latency double precision GENERATED ALWAYS AS (extract(epoch FROM end_time - start_time)) STORED,
    data jsonb NOT NULL,
    PRIMARY KEY (run_date, trace_id, run_id),
    CONSTRAINT runs_id_is_its_own CHECK (((data ->> 'id') = run_id::text) IS TRUE),
    CONSTRAINT runs_trace_id_is_its_own CHECK (((data ->> 'trace_id') = trace_id::text) IS TRUE)
) PARTITION BY RANGE (run_date);

CREATE INDEX runs_project_day ON runs (project, run_date, trace_id);
CREATE INDEX runs_failed ON runs (run_date, project, name) INCLUDE (trace_id)
    WHERE status IS DISTINCT FROM 'success';
CREATE INDEX runs_trace ON runs (trace_id);
CREATE INDEX runs_start_time ON runs USING brin (start_time);

CREATE TABLE project_days (
    project text NOT NULL,
    run_date date NOT NULL,
    fetched_at timestamptz,
    complete boolean,
    server_runs bigint,
    server_traces bigint,
    runs bigint,
    traces bigint,
    feedback bigint,
    api text,
    walks integer,
    packed_at timestamptz,
    content_sha256 text,
    zip_sha256 text,
    zip_md5 text,
    zip_size bigint,
    uploaded_at timestamptz,
    target text,
    target_id text,
    target_link text,
    loaded_at timestamptz,
    loaded_runs bigint,
    quarantined bigint,
    verified_at timestamptz,
    differences bigint,
    failed_step text,
    failure text,
    PRIMARY KEY (project, run_date)
);

CREATE TABLE quarantine (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project text NOT NULL,
    run_date date NOT NULL,
    run_id uuid,
    trace_id uuid,
    content_hash uuid NOT NULL,
    raw bytea NOT NULL,
    reason text NOT NULL,
    quarantined_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT quarantine_once_per_day UNIQUE (project, run_date, content_hash)
);

CREATE TABLE feedback (
    run_date date NOT NULL,
    run_id uuid NOT NULL,
    feedback_id uuid NOT NULL,
    project text NOT NULL,
    key text,
    score numeric,
    value jsonb,
    comment text,
    created_at timestamptz,
    modified_at timestamptz,
    content_hash uuid NOT NULL,
    sanitized boolean NOT NULL,
    data jsonb NOT NULL,
    PRIMARY KEY (run_date, run_id, feedback_id),
    CONSTRAINT feedback_id_is_its_own CHECK (((data ->> 'id') = feedback_id::text) IS TRUE),
    CONSTRAINT feedback_run_id_is_its_own CHECK (((data ->> 'run_id') = run_id::text) IS TRUE)
);

CREATE INDEX feedback_project_day ON feedback (project, run_date, run_id);
"""

# pglz, Postgres' default, costs 100 microseconds a run, more than all else together (measured), so data is
# compressed with lz4 where the server was built with it, else kept as it is.
_NO_PGLZ = """
DO $$
DECLARE
    has_lz4 boolean := EXISTS (
        SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)
    );
    target record;
BEGIN
    FOR target IN
        SELECT * FROM (VALUES ('runs', 'data'), ('feedback', 'data'), ('feedback', 'value')) AS t (tab, col)
    LOOP
        IF has_lz4 THEN
            EXECUTE format('ALTER TABLE %I ALTER COLUMN %I SET COMPRESSION lz4', target.tab, target.col);
        ELSE
            EXECUTE format('ALTER TABLE %I ALTER COLUMN %I SET STORAGE EXTERNAL', target.tab, target.col);
        END IF;
    END LOOP;
END $$;
ALTER TABLE quarantine ALTER COLUMN raw SET STORAGE EXTERNAL;
"""


def upgrade() -> None:
    op.execute(_TABLES)
    op.execute(_NO_PGLZ)


def downgrade() -> None:
    op.execute("DROP TABLE feedback, quarantine, project_days, runs")
