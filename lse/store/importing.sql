-- What an import needs of a database beyond the store's own statements.

-- name: earlier_columns
-- Tells the earlier tool's table from ours, which has the same name and more columns.
select coalesce(array_agg(attname::text), '{}') from pg_attribute
where attrelid = to_regclass('runs') and attnum > 0 and not attisdropped

-- name: earlier_runs
-- Everything, through a server-side cursor. The text of a jsonb value is all that is left of the run's own.
select run_id, project, data::text from runs

-- name: earlier_runs_by_id
-- What an import takes, by the unique index on run_id.
select run_id, project, data::text from runs where run_id = any(%(run_ids)s)

-- name: remove_runs
-- Exactly the versions that came in: a row that was changed since has another hash, and stays.
delete from runs
using unnest(%(owners)s::uuid[], %(ids)s::uuid[], %(hashes)s::uuid[]) as gone (trace_id, run_id, content_hash)
where runs.run_date = %(run_date)s and runs.project = %(project)s
  and (runs.trace_id, runs.run_id, runs.content_hash) = (gone.trace_id, gone.run_id, gone.content_hash)

-- name: remove_feedback
-- As remove_runs.
delete from feedback
using unnest(%(owners)s::uuid[], %(ids)s::uuid[], %(hashes)s::uuid[]) as gone (run_id, feedback_id, content_hash)
where feedback.run_date = %(run_date)s and feedback.project = %(project)s
  and (feedback.run_id, feedback.feedback_id, feedback.content_hash)
      = (gone.run_id, gone.feedback_id, gone.content_hash)

-- name: remove_kept_versions
-- What stands in runs again is no earlier version.
delete from run_versions
using unnest(%(owners)s::uuid[], %(ids)s::uuid[], %(hashes)s::uuid[]) as back (trace_id, run_id, content_hash)
where run_versions.run_date = %(run_date)s
  and (run_versions.trace_id, run_versions.run_id, run_versions.content_hash)
      = (back.trace_id, back.run_id, back.content_hash)

-- name: remove_quarantined
-- Runs that came in and could not be loaded.
delete from quarantine
where project = %(project)s and run_date = %(run_date)s and content_hash = any(%(hashes)s)

-- name: remove_ledger_entry
-- Of a day of which nothing is archived any more, or that was never fetched.
delete from project_days where project = %(project)s and run_date = %(run_date)s
