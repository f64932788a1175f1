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

-- name: place
-- Where the tables are: the names that grants need.
select current_database(), current_schema()

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
-- Most loads find their month's partition there. Reads the catalogue as a table, since to_regclass remembers
-- a miss for the rest of the transaction. A month that was detached is not there, though its table is.
select exists (
    select from pg_inherits join pg_class as part on part.oid = inhrelid
    where inhparent = 'runs'::regclass and part.relname = %(partition)s
)

-- name: make_month
-- The function runs as the owner of the tables, so a load needs no right to create any.
select lse_make_month(%(day)s)

-- name: partition_size
-- Rows that the planner believes to be in a partition; -1 before the first analyze.
select reltuples::bigint from pg_class where oid = %(partition)s::regclass

-- name: known_runs
-- What the store holds of the traces of a batch, on whichever day: unchanged runs are not sent again, and
-- one that stands on another day moves. As bytes, which are cheaper to compare than ids are to make.
select uuid_send(trace_id) || uuid_send(run_id), uuid_send(content_hash), project, run_date,
       end_time is not null or coalesce(status, 'pending') <> 'pending'
from runs
where trace_id = any(%(trace_ids)s)

-- name: stand_elsewhere
-- Whether runs of the traces of a batch stand on another day than the one they were just written to.
select exists (select from runs where trace_id = any(%(trace_ids)s) and run_date <> %(run_date)s)

-- name: move_runs
-- A run stands once: when its trace turns out to belong to another day, what was loaded before becomes a
-- version, and the feedback on it goes along.
with rated as (
    delete from feedback where run_date = any(%(run_dates)s) and run_id = any(%(run_ids)s) returning *
), taken_along as (
    insert into feedback (run_date, run_id, feedback_id, project, key, score, value, comment, created_at,
                          modified_at, content_hash, sanitized, data)
    select %(run_date)s, run_id, feedback_id, %(project)s, key, score, value, comment, created_at, modified_at,
           content_hash, sanitized, data
    from rated
    on conflict do nothing
), moved as (
    delete from runs
    where run_date = any(%(run_dates)s) and trace_id = any(%(trace_ids)s) and run_id = any(%(run_ids)s)
    returning run_date, trace_id, run_id, content_hash, project, status, loaded_at, sanitized, data
)
insert into run_versions (run_date, trace_id, run_id, content_hash, project, status, loaded_at, sanitized, data)
select run_date, trace_id, run_id, content_hash, project, status, loaded_at, sanitized, data from moved
on conflict (run_date, trace_id, run_id, content_hash) do update set superseded_at = excluded.superseded_at

-- name: create_incoming
-- Where changed runs wait for the upsert. Keeps the compression of the table, since temporary rows would be
-- compressed with pglz otherwise.
create temporary table if not exists incoming
    (like runs including defaults including storage including compression) on commit drop

-- name: empty_incoming
-- The rows of the batch before are done with.
truncate incoming

-- name: keep_versions
-- Before the upsert: every row that it may replace. The lock keeps others from replacing them in between;
-- in the order of the key, so that two sessions never wait for each other in a circle.
with known as (
    select runs.* from runs join incoming using (run_date, trace_id, run_id)
    where runs.content_hash <> incoming.content_hash
    order by run_date, trace_id, run_id
    for update of runs
)
insert into run_versions (run_date, trace_id, run_id, content_hash, project, status, loaded_at, sanitized, data)
select run_date, trace_id, run_id, content_hash, project, status, loaded_at, sanitized, data from known
on conflict (run_date, trace_id, run_id, content_hash) do update set superseded_at = excluded.superseded_at

-- name: drop_current_versions
-- After the upsert: a row that it did not replace, or that came back, is no earlier version.
delete from run_versions using runs join incoming using (run_date, trace_id, run_id)
where (run_versions.run_date, run_versions.trace_id, run_versions.run_id, run_versions.content_hash)
    = (runs.run_date, runs.trace_id, runs.run_id, runs.content_hash)

-- name: empty_rollups
-- The day's rollups are made again as a whole, so they cannot drift.
with emptied as (
    delete from daily_rollups where project = %(project)s and run_date = %(run_date)s
), forgotten as (
    delete from daily_feedback where project = %(project)s and run_date = %(run_date)s
)
delete from daily_traces where project = %(project)s and run_date = %(run_date)s

-- name: fill_rollups
-- In the transaction of the load: some microseconds a run of the day. Traces are counted in steps, since
-- `count(distinct)` sorts the runs for each count: a third of the time (measured).
with day as (
    select trace_id, run_id, coalesce(name, '') as name, coalesce(run_type, '') as run_type,
           coalesce(status, '') as status, coalesce(model, '') as model, prompt_tokens, completion_tokens,
           total_tokens, prompt_cost, completion_cost, total_cost, end_time - start_time as took
    from runs
    where project = %(project)s and run_date = %(run_date)s
), kinds_of_traces as (
    select name, run_type, status, model, trace_id from day group by 1, 2, 3, 4, 5
), names_of_traces as (
    select name, trace_id, bool_or(status <> 'success') as failed from kinds_of_traces group by 1, 2
), whole_traces as (
    select trace_id, bool_or(failed) as failed from names_of_traces group by 1
), counted as (
    select name, run_type, status, model, count(*) as traces from kinds_of_traces group by 1, 2, 3, 4
), summed as (
    select name, run_type, status, model, count(*) as runs, count(*) filter (where run_id = trace_id) as roots,
           coalesce(sum(prompt_tokens), 0) as prompt_tokens,
           coalesce(sum(completion_tokens), 0) as completion_tokens,
           coalesce(sum(total_tokens), 0) as total_tokens, coalesce(sum(prompt_cost), 0) as prompt_cost,
           coalesce(sum(completion_cost), 0) as completion_cost, coalesce(sum(total_cost), 0) as total_cost,
           count(took) as ended, coalesce(extract(epoch from sum(took)), 0) as latency,
           coalesce(string_agg(int8send((extract(epoch from took) * 1000000)::bigint), ''::bytea order by took)
                    filter (where took is not null), ''::bytea) as latencies
    from day
    group by 1, 2, 3, 4
), rolled as (
    insert into daily_rollups (project, run_date, name, run_type, status, model, runs, roots, traces,
                               prompt_tokens, completion_tokens, total_tokens, prompt_cost, completion_cost,
                               total_cost, ended, latency, latencies)
    select %(project)s, %(run_date)s, name, run_type, status, model, runs, roots, traces, prompt_tokens,
           completion_tokens, total_tokens, prompt_cost, completion_cost, total_cost, ended, latency, latencies
    from summed join counted using (name, run_type, status, model)
), rated as (
    insert into daily_feedback (project, run_date, key, feedback, scored, score)
    select %(project)s, %(run_date)s, coalesce(key, ''), count(*), count(score), coalesce(sum(score), 0)
    from feedback
    where project = %(project)s and run_date = %(run_date)s
    group by 3
)
insert into daily_traces (project, run_date, by_name, name, traces, failed_traces)
select %(project)s::text, %(run_date)s::date, true, name, count(*), count(*) filter (where failed)
from names_of_traces
group by name
union all
select %(project)s, %(run_date)s, false, '', count(*), count(*) filter (where failed)
from whole_traces
having count(*) > 0

-- name: day_has_rows
-- Asked once at the begin of a load.
select exists (select from runs where project = %(project)s and run_date = %(run_date)s)

-- name: day_digest
-- Whether the rows of a day are those that a load left: ids and hashes, in no order. One reading of the day's
-- narrow rows, where comparing each with the archive reads the archive as well.
select coalesce(bit_xor(hashtextextended(concat(kind, id, content_hash), 0)), 0),
       count(*) filter (where kind = 'feedback')
from (
    select 'run' as kind, run_id as id, content_hash from runs
    where project = %(project)s and run_date = %(run_date)s
    union all
    select 'feedback', feedback_id, content_hash from feedback
    where project = %(project)s and run_date = %(run_date)s
    union all
    select 'quarantine', run_id, content_hash from quarantine
    where project = %(project)s and run_date = %(run_date)s
) as rows

-- name: projects_of_feedback
-- Whose daily figures an upsert may change: a record may have been loaded for another project before.
select distinct project from feedback where run_date = %(run_date)s and run_id = any(%(run_ids)s)

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

-- name: run_entries
-- A row for each trace, its runs' ids and hashes as one value: half the time of a row for each run (measured).
select trace_id::text,
       string_agg(uuid_send(run_id) || uuid_send(content_hash), ''::bytea order by run_id)
from runs
where project = %(project)s and run_date = %(run_date)s
group by runs.trace_id
order by runs.trace_id

-- name: feedback_entries
-- As run_entries, for the feedback of the whole day.
select string_agg(uuid_send(feedback_id) || uuid_send(content_hash), ''::bytea order by feedback_id)
from feedback
where project = %(project)s and run_date = %(run_date)s

-- name: count_rows
-- How much of a day is in the store, for a look that reads no id.
select (select count(*) from runs where project = %(project)s and run_date = %(run_date)s) as runs,
       (select count(*) from feedback where project = %(project)s and run_date = %(run_date)s) as feedback,
       (select count(*) from quarantine where project = %(project)s and run_date = %(run_date)s) as quarantined

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
