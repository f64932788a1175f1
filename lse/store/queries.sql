-- The statements of the store, each under its name with a line that says why.

-- name: revision_table
-- Null before the first migration; asked first, since a missing table would be an error.
select to_regclass('alembic_version')::text

-- name: revision
-- One row: the migrations are linear.
select version_num from alembic_version

-- name: lock_migrations
-- Two upgrades at once would both create the tables; freed at the end of the transaction.
select pg_advisory_xact_lock(hashtextextended('lse migrations', 0))

-- name: try_lock_day
-- One sweep per project day at a time; held by the session, so a crash frees it.
select pg_try_advisory_lock(hashtextextended(%(day)s, 0))

-- name: unlock_day
-- Also proves, at the end of the work, that the lock was held all along.
select pg_advisory_unlock(hashtextextended(%(day)s, 0))

-- name: lock_load
-- Two loads of a day would race between the look-up of hashes and the insert. Another key than the day's
-- lock, which the caller may hold on its own connection.
select pg_advisory_xact_lock(hashtextextended(%(day)s, 1))

-- name: partition_exists
-- Most loads find their month's partition there and need no right to create one. Reads the catalogue as a
-- table, since to_regclass remembers a miss for the rest of the transaction.
select exists (
    select from pg_class as part join pg_class as whole using (relnamespace)
    where whole.oid = 'runs'::regclass and part.relname = %(partition)s
)

-- name: lock_partitions
-- Two loads that open the same month wait here instead of failing on a duplicate name.
select pg_advisory_xact_lock(hashtextextended('lse partitions', 0))

-- name: known_runs
-- What the store holds of a batch, so that unchanged runs are not sent again: by the primary key, with the
-- trace ids as well, which keeps the look-up inside one shard should the table ever be distributed.
select trace_id, run_id, content_hash, project
from runs
where run_date = %(run_date)s and trace_id = any(%(trace_ids)s) and run_id = any(%(run_ids)s)

-- name: copy_runs
-- Runs that the store does not have go straight into the table.
copy runs (run_date, trace_id, run_id, parent_run_id, session_id, content_hash, start_time, end_time,
           prompt_tokens, completion_tokens, total_tokens, sanitized, project, name, run_type, status, symbol,
           thread_id, prompt_cost, completion_cost, total_cost, tags, error, data)
from stdin (format binary)

-- name: create_incoming
-- Where changed runs wait for the upsert. Keeps the compression of the table, since temporary rows would be
-- compressed with pglz otherwise.
create temporary table if not exists incoming
    (like runs including defaults including storage including compression) on commit drop

-- name: empty_incoming
-- The rows of the batch before are done with.
truncate incoming

-- name: copy_incoming
-- Changed runs, on their way to the upsert.
copy incoming (run_date, trace_id, run_id, parent_run_id, session_id, content_hash, start_time, end_time,
               prompt_tokens, completion_tokens, total_tokens, sanitized, project, name, run_type, status, symbol,
               thread_id, prompt_cost, completion_cost, total_cost, tags, error, data)
from stdin (format binary)

-- name: upsert_runs
-- A row is written only when it differs, and a finished run is never overwritten by an unfinished one.
-- Sorted by key, so that two sessions never wait for each other in a circle. Returns what was written.
insert into runs (run_date, trace_id, run_id, parent_run_id, session_id, content_hash, start_time, end_time,
                  loaded_at, prompt_tokens, completion_tokens, total_tokens, sanitized, project, name, run_type,
                  status, symbol, thread_id, prompt_cost, completion_cost, total_cost, tags, error, data)
select run_date, trace_id, run_id, parent_run_id, session_id, content_hash, start_time, end_time,
       loaded_at, prompt_tokens, completion_tokens, total_tokens, sanitized, project, name, run_type,
       status, symbol, thread_id, prompt_cost, completion_cost, total_cost, tags, error, data
from incoming
order by run_date, trace_id, run_id
on conflict (run_date, trace_id, run_id) do update set
    parent_run_id = excluded.parent_run_id,
    session_id = excluded.session_id,
    content_hash = excluded.content_hash,
    start_time = excluded.start_time,
    end_time = excluded.end_time,
    loaded_at = excluded.loaded_at,
    prompt_tokens = excluded.prompt_tokens,
    completion_tokens = excluded.completion_tokens,
    total_tokens = excluded.total_tokens,
    sanitized = excluded.sanitized,
    project = excluded.project,
    name = excluded.name,
    run_type = excluded.run_type,
    status = excluded.status,
    symbol = excluded.symbol,
    thread_id = excluded.thread_id,
    prompt_cost = excluded.prompt_cost,
    completion_cost = excluded.completion_cost,
    total_cost = excluded.total_cost,
    tags = excluded.tags,
    error = excluded.error,
    data = excluded.data
where (runs.content_hash, runs.project) is distinct from (excluded.content_hash, excluded.project)
  and (excluded.end_time is not null or coalesce(excluded.status, 'pending') <> 'pending'
       or (runs.end_time is null and coalesce(runs.status, 'pending') = 'pending'))
returning trace_id, run_id

-- name: upsert_feedback
-- Feedback has no unfinished state: the record that was read last counts.
insert into feedback (run_date, run_id, feedback_id, project, key, score, value, comment, created_at,
                      modified_at, content_hash, sanitized, data)
values (%(run_date)s, %(run_id)s, %(feedback_id)s, %(project)s, %(key)s, %(score)s, %(value)s, %(comment)s,
        %(created_at)s, %(modified_at)s, %(content_hash)s, %(sanitized)s, %(data)s)
on conflict (run_date, run_id, feedback_id) do update set
    project = excluded.project,
    key = excluded.key,
    score = excluded.score,
    value = excluded.value,
    comment = excluded.comment,
    created_at = excluded.created_at,
    modified_at = excluded.modified_at,
    content_hash = excluded.content_hash,
    sanitized = excluded.sanitized,
    data = excluded.data
where (feedback.content_hash, feedback.project) is distinct from (excluded.content_hash, excluded.project)

-- name: quarantine
-- The same bytes are quarantined once per project day, with the latest reason.
insert into quarantine (project, run_date, run_id, trace_id, content_hash, raw, reason)
values (%(project)s, %(run_date)s, %(run_id)s, %(trace_id)s, %(content_hash)s, %(raw)s, %(reason)s)
on conflict (project, run_date, content_hash) do update set reason = excluded.reason

-- name: release_quarantine
-- What is loaded by now, or gone from the archive, is not in quarantine any more.
delete from quarantine
where project = %(project)s and run_date = %(run_date)s and content_hash <> all(%(kept)s)

-- name: run_hashes
-- In the order of the primary key, so that a comparison is a merge that holds one row.
select trace_id, run_id, content_hash from runs
where project = %(project)s and run_date = %(run_date)s
order by trace_id, run_id

-- name: feedback_hashes
-- As run_hashes, for feedback.
select run_id, feedback_id, content_hash from feedback
where project = %(project)s and run_date = %(run_date)s
order by run_id, feedback_id

-- name: quarantined
-- Without the raw bytes, which may be large.
select run_id, trace_id, content_hash, reason, quarantined_at from quarantine
where project = %(project)s and run_date = %(run_date)s
order by content_hash

-- name: ledger
-- One project day.
select * from project_days where project = %(project)s and run_date = %(run_date)s

-- name: ledgers
-- Any part of the ledger; a filter that is null does not filter. The bounds are inclusive.
select * from project_days
where (%(project)s::text is null or project = %(project)s)
  and (%(start)s::date is null or run_date >= %(start)s)
  and (%(end)s::date is null or run_date <= %(end)s)
order by project, run_date

-- name: projects
-- Every load writes the ledger, so the ledger knows every project, and is small.
select distinct project from project_days order by project
