"""Versions of runs, daily rollups, a cursor over changes, the model, views, and months without DDL."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A default that is the same for the whole statement is kept in the catalogue, so no row is rewritten for it.
_COLUMNS = """
ALTER TABLE runs ADD COLUMN model text;
ALTER TABLE runs ADD COLUMN changed_xid xid8 NOT NULL DEFAULT pg_current_xact_id();
"""

_MODEL = """
WITH named AS (
    SELECT run_date, trace_id, run_id,
           coalesce(
               jsonb_path_query_first(data,
                   '$.extra.metadata.ls_model_name ? (@.type() == "string" && @ != "")'),
               jsonb_path_query_first(data,
                   '$.metadata.ls_model_name ? (@.type() == "string" && @ != "")')
           ) #>> '{}' AS model
    FROM runs
)
UPDATE runs SET model = named.model
FROM named
WHERE named.model IS NOT NULL
  AND (runs.run_date, runs.trace_id, runs.run_id) = (named.run_date, named.trace_id, named.run_id);
"""

_INDEX = "CREATE INDEX runs_changed ON runs (changed_xid, run_id);"

_TABLES = """
CREATE TABLE run_versions (
    run_date date NOT NULL,
    trace_id uuid NOT NULL,
    run_id uuid NOT NULL,
    content_hash uuid NOT NULL,
    project text NOT NULL,
    status text,
    loaded_at timestamptz NOT NULL,
    superseded_at timestamptz NOT NULL DEFAULT now(),
    sanitized boolean NOT NULL,
    data jsonb NOT NULL,
    PRIMARY KEY (run_date, trace_id, run_id, content_hash)
);

CREATE TABLE daily_rollups (
    project text NOT NULL,
    run_date date NOT NULL,
    name text NOT NULL,
    run_type text NOT NULL,
    status text NOT NULL,
    model text NOT NULL,
    runs bigint NOT NULL,
    roots bigint NOT NULL,
    traces bigint NOT NULL,
    prompt_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    total_tokens bigint NOT NULL,
    prompt_cost numeric NOT NULL,
    completion_cost numeric NOT NULL,
    total_cost numeric NOT NULL,
    ended bigint NOT NULL,
    latency numeric NOT NULL,
    PRIMARY KEY (project, run_date, name, run_type, status, model)
);
"""

_NO_PGLZ = """
DO $$ BEGIN
    IF EXISTS (
        SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)
    ) THEN
        ALTER TABLE run_versions ALTER COLUMN data SET COMPRESSION lz4;
    ELSE
        ALTER TABLE run_versions ALTER COLUMN data SET STORAGE EXTERNAL;
    END IF;
END $$;
"""

_ROLLUPS = """
INSERT INTO daily_rollups
SELECT project, run_date,
       coalesce(name, ''), coalesce(run_type, ''), coalesce(status, ''), coalesce(model, ''),
       count(*), count(*) FILTER (WHERE run_id = trace_id), count(DISTINCT trace_id),
       coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0), coalesce(sum(total_tokens), 0),
       coalesce(sum(prompt_cost), 0), coalesce(sum(completion_cost), 0), coalesce(sum(total_cost), 0),
       count(end_time), coalesce(extract(epoch FROM sum(end_time - start_time)), 0)
FROM runs
GROUP BY 1, 2, 3, 4, 5, 6;
"""

_VIEWS = """
CREATE VIEW lse_runs AS
SELECT project, run_date, trace_id, run_id, parent_run_id, name, run_type, status, model,
       start_time, end_time, latency, prompt_tokens, completion_tokens, total_tokens,
       prompt_cost, completion_cost, total_cost, symbol, thread_id, tags, error, loaded_at, data
FROM runs;

CREATE VIEW lse_traces AS
SELECT project, run_date, trace_id,
       max(name) FILTER (WHERE run_id = trace_id) AS name,
       max(status) FILTER (WHERE run_id = trace_id) AS status,
       coalesce(max(start_time) FILTER (WHERE run_id = trace_id), min(start_time)) AS start_time,
       max(end_time) FILTER (WHERE run_id = trace_id) AS end_time,
       max(latency) FILTER (WHERE run_id = trace_id) AS latency,
       count(*) AS runs,
       count(*) FILTER (WHERE status IS DISTINCT FROM 'success') AS failed_runs,
       max(total_tokens) FILTER (WHERE run_id = trace_id) AS total_tokens,
       max(total_cost) FILTER (WHERE run_id = trace_id) AS total_cost
FROM runs
GROUP BY project, run_date, trace_id;

CREATE VIEW lse_feedback AS
SELECT project, run_date, run_id, feedback_id, key, score, value, comment, created_at, modified_at, data
FROM feedback;

CREATE VIEW lse_days AS
SELECT project, run_date, complete, runs, traces, feedback, loaded_runs, quarantined, differences,
       fetched_at, packed_at, uploaded_at, loaded_at, verified_at, failed_step, failure
FROM project_days;

CREATE VIEW lse_rollups AS
SELECT project, run_date, name, run_type, status, model, runs, roots, traces,
       prompt_tokens, completion_tokens, total_tokens, prompt_cost, completion_cost, total_cost,
       ended, latency
FROM daily_rollups;
"""

# A load opens the month it needs, and its role need not own the tables: the function runs as its owner, in
# the schema it was made in. The table is made first and attached then, since `create table ... partition of`
# would wait for every reader, and every later reader for it. Above 512 bytes payloads move out of line, which
# makes reports fast; a lower target would push hashes and errors out as well (measured: comparing hashes took
# six times as long at 128).
_MONTHS = """
DO $outer$ BEGIN
    EXECUTE format($make$
        CREATE FUNCTION %1$I.lse_make_month(day date) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = %1$I, pg_temp AS $body$
        DECLARE
            first date := date_trunc('month', day)::date;
            month text := 'runs_' || to_char(day, 'YYYY_MM');
        BEGIN
            -- Two loads that open the same month wait here instead of failing on a duplicate name.
            PERFORM pg_advisory_xact_lock(hashtextextended('lse partitions', 0));
            IF EXISTS (
                SELECT FROM pg_inherits JOIN pg_class AS part ON part.oid = inhrelid
                WHERE inhparent = 'runs'::regclass AND part.relname = month
            ) THEN
                RETURN;
            END IF;
            -- The table of a month that was detached is there, and is attached again.
            EXECUTE format('CREATE TABLE IF NOT EXISTS %%I (LIKE runs INCLUDING ALL)'
                           ' WITH (toast_tuple_target = 512)', month);
            EXECUTE format('ALTER TABLE runs ATTACH PARTITION %%I FOR VALUES FROM (%%L) TO (%%L)',
                           month, first, (first + interval '1 month')::date);
        END $body$;
        REVOKE ALL ON FUNCTION %1$I.lse_make_month(date) FROM PUBLIC;
    $make$, current_schema);
END $outer$;
"""

_DOWN = """
DROP FUNCTION lse_make_month(date);
DROP VIEW lse_rollups, lse_days, lse_feedback, lse_traces, lse_runs;
DROP TABLE daily_rollups, run_versions;
DROP INDEX runs_changed;
ALTER TABLE runs DROP COLUMN changed_xid, DROP COLUMN model;
"""


def upgrade() -> None:
    for statement in (_COLUMNS, _MODEL, _INDEX, _TABLES, _NO_PGLZ, _ROLLUPS, _VIEWS, _MONTHS):
        op.execute(statement)


def downgrade() -> None:
    op.execute(_DOWN)
