"""What reports read: exact latencies and counts of traces by day, and an index on the slowest runs."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Two runs may say that they took 2^63 - 1 tokens each; a sum that does not fit would keep the whole day out.
# A view has to make way for a change of its columns.
_SUMS = """
DROP VIEW lse_rollups;
ALTER TABLE daily_rollups
    ALTER COLUMN prompt_tokens TYPE {kind},
    ALTER COLUMN completion_tokens TYPE {kind},
    ALTER COLUMN total_tokens TYPE {kind};
CREATE VIEW lse_rollups AS
SELECT project, run_date, name, run_type, status, model, runs, roots, traces,
       prompt_tokens, completion_tokens, total_tokens, prompt_cost, completion_cost, total_cost,
       ended, latency
FROM daily_rollups;
"""

# Latencies hardly compress, and pglz, Postgres' default, would try (see the first revision).
_SCHEMA = """
ALTER TABLE daily_rollups ADD COLUMN latencies bytea NOT NULL DEFAULT '';
ALTER TABLE daily_rollups ALTER COLUMN latencies SET STORAGE EXTERNAL;

CREATE TABLE daily_traces (
    project text NOT NULL,
    run_date date NOT NULL,
    by_name boolean NOT NULL,
    name text NOT NULL,
    traces bigint NOT NULL,
    failed_traces bigint NOT NULL,
    PRIMARY KEY (project, run_date, by_name, name)
);

CREATE INDEX runs_latency ON runs (project, run_date, latency);
"""

# Failures are few and far apart: 50,000 of a million rows took 300 ms, from the index alone 40 (measured).
_FAILED = """
DROP INDEX runs_failed;
CREATE INDEX runs_failed ON runs (run_date, project, name) INCLUDE ({columns})
    WHERE status IS DISTINCT FROM 'success';
"""

_LATENCIES = """
UPDATE daily_rollups AS rollup SET latencies = measured.latencies
FROM (
    SELECT project, run_date, coalesce(name, '') AS name, coalesce(run_type, '') AS run_type,
           coalesce(status, '') AS status, coalesce(model, '') AS model,
           string_agg(int8send((extract(epoch FROM end_time - start_time) * 1000000)::bigint), ''::bytea
                      ORDER BY end_time - start_time) AS latencies
    FROM runs
    WHERE end_time IS NOT NULL
    GROUP BY 1, 2, 3, 4, 5, 6
) AS measured
WHERE (rollup.project, rollup.run_date, rollup.name) = (measured.project, measured.run_date, measured.name)
  AND (rollup.run_type, rollup.status, rollup.model) = (measured.run_type, measured.status, measured.model);
"""

_TRACES = """
INSERT INTO daily_traces
SELECT project, run_date, GROUPING(name) = 0, coalesce(name, ''), count(DISTINCT trace_id),
       count(DISTINCT trace_id) FILTER (WHERE status IS DISTINCT FROM 'success')
FROM (SELECT project, run_date, coalesce(name, '') AS name, trace_id, status FROM runs) AS runs
GROUP BY GROUPING SETS ((project, run_date), (project, run_date, name));
"""


def upgrade() -> None:
    for statement in (_SUMS.format(kind="numeric"), _SCHEMA, _LATENCIES, _TRACES):
        op.execute(statement)
    op.execute(_FAILED.format(columns="trace_id, start_time, error"))


def downgrade() -> None:
    op.execute(_FAILED.format(columns="trace_id"))
    op.execute(_SUMS.format(kind="bigint"))
    op.execute(
        "DROP INDEX runs_latency; DROP TABLE daily_traces; ALTER TABLE daily_rollups DROP COLUMN latencies"
    )
