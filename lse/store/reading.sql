-- The statements by which people and programs read runs. `$columns` and `$document` stand for the first two.

-- name: columns
-- What is shown of a run: all but its data, which may be large.
run_date, project, trace_id, run_id, parent_run_id, name, run_type, status, start_time, end_time, latency,
model, prompt_tokens, completion_tokens, total_tokens, total_cost, tags, error

-- name: document
-- The text of a run in which words are searched: the beginnings, since making words of 9 kB takes ten times as
-- long as loading the run. Bounded also because a text vector holds at most 1 MB, and an index would refuse the
-- run with a longer one. Line breaks and tabs stand escaped in the text of a JSON value; left as they are, their
-- letter would become part of the next word.
(coalesce(name, '') || ' ' || left(coalesce(data ->> 'error', ''), 1000) || ' '
 || replace(replace(left(coalesce(data ->> 'inputs', ''), 1000) || ' '
                    || left(coalesce(data ->> 'outputs', ''), 1000), '\n', ' '), '\t', ' '))

-- name: runs_of_day
-- A page of a project day, in the order of the primary key: each page costs the same, however far it is from the
-- first. A filter that is null does not filter; no limit reads all.
select $columns from runs
where project = %(project)s and run_date = %(run_date)s
  and (%(trace_id)s::uuid is null or (trace_id, run_id) > (%(trace_id)s, %(run_id)s))
  and (%(name)s::text is null or name = %(name)s)
  and (%(status)s::text is null or status = %(status)s)
  and (%(run_type)s::text is null or run_type = %(run_type)s)
  and (%(tag)s::text is null or %(tag)s = any(tags))
order by trace_id, run_id
limit %(limit)s

-- name: place_of_trace
-- The day of a trace. Should its start have changed between two loads, the day that was loaded last.
select project, run_date, trace_id, null::uuid as run_id from runs
where trace_id = %(id)s
order by loaded_at desc
limit 1

-- name: place_of_run
-- There is no index on run_id alone, which every load would pay for. A version 7 id says its day, so that a day
-- or two of the primary key are read; another id reads the whole of it, which is far smaller than the table.
select project, run_date, trace_id, run_id from runs
where run_id = %(id)s
  and (%(start)s::date is null or run_date >= %(start)s)
  and (%(end)s::date is null or run_date <= %(end)s)
limit 1

-- name: place_of_feedback
-- The run that a feedback record is about.
select feedback.project, run_date, trace_id, run_id
from feedback join runs using (run_date, run_id)
where feedback_id = %(id)s
limit 1

-- name: trace_runs
-- One trace, within its day: one partition, by the primary key.
select $columns from runs
where run_date = %(run_date)s and trace_id = %(trace_id)s
order by start_time, run_id

-- name: payloads
-- The runs of one trace as JSON text, which keeps every digit of its numbers.
select run_id, data::text from runs
where run_date = %(run_date)s and trace_id = %(trace_id)s
  and (%(run_id)s::uuid is null or run_id = %(run_id)s)

-- name: search_words
-- The latest days first. With an index on the text vector it is used; else the days of the range are read one
-- after the other until the page is full.
select $columns from runs
where (%(project)s::text is null or project = %(project)s)
  and run_date between %(start)s and %(end)s
  and (%(run_date)s::date is null or (run_date, trace_id, run_id) < (%(run_date)s, %(trace_id)s, %(run_id)s))
  and to_tsvector('simple', $document) @@ websearch_to_tsquery('simple', %(text)s)
order by run_date desc, trace_id desc, run_id desc
limit %(limit)s

-- name: search_substring
-- As search_words, in the whole text of the run as JSON. An index of pg_trgm serves it where there is one.
select $columns from runs
where (%(project)s::text is null or project = %(project)s)
  and run_date between %(start)s and %(end)s
  and (%(run_date)s::date is null or (run_date, trace_id, run_id) < (%(run_date)s, %(trace_id)s, %(run_id)s))
  and data::text ilike %(pattern)s
order by run_date desc, trace_id desc, run_id desc
limit %(limit)s

-- name: changes
-- What was written since a cursor. A transaction that began early may commit late, so only those are read that
-- no running transaction can still precede; ordered by anything else, a reader would pass over late ones.
select changed_xid::text as xid, $columns from runs
where changed_xid < pg_snapshot_xmin(pg_current_snapshot())
  and (%(xid)s::text is null
       or (changed_xid, run_id, run_date, trace_id)
          > (%(xid)s::text::xid8, %(run_id)s, %(run_date)s, %(trace_id)s))
order by changed_xid, run_id, run_date, trace_id
limit %(limit)s

-- name: runs_with_feedback
-- The runs of a project day, those of a trace together, each with the feedback on it. Only ids are sorted: rows
-- with their payloads would be sorted on disk, which is why neither inner query may become a join. `date_part`, unlike
-- `extract`, does not calculate in decimals; rounded to microseconds it is exact until the year 2106.
select key.trace_id::text, key.run_id::text, (date_part('epoch', run.start_time) * 1000000)::bigint,
       run.data::text,
       (select jsonb_agg(feedback.data)::text from feedback
        where feedback.run_date = key.run_date and feedback.run_id = key.run_id)
from (
    select trace_id, run_id, run_date from runs
    where project = %(project)s and run_date = %(run_date)s
    order by trace_id
) as key
cross join lateral (
    select start_time, data from runs
    where (trace_id, run_id, run_date) = (key.trace_id, key.run_id, key.run_date)
    offset 0
) as run
order by key.trace_id
