-- The statements by which old months leave the store.

-- name: months
-- The tables of months before a day: partitions of runs, and those that were detached from it.
select part.relname as name, inhparent is not null as attached, coalesce(inhdetachpending, false) as pending,
       pg_total_relation_size(part.oid) as size
from pg_class as part
     join pg_class as whole on whole.oid = 'runs'::regclass and whole.relnamespace = part.relnamespace
     left join pg_inherits on inhrelid = part.oid and inhparent = whole.oid
where part.relkind = 'r' and part.relname ~ '^runs_\d{4}_\d{2}$'
  and to_date(right(part.relname, 7), 'YYYY_MM') < %(before)s
order by part.relname

-- name: days_of_month
-- What a month holds, and what the ledger says of each of its project days.
select held.project, held.run_date, held.runs,
       day.fetched_at, day.packed_at, day.uploaded_at, day.loaded_at, day.verified_at, day.differences
from (select project, run_date, count(*) as runs from {month} group by project, run_date) as held
     left join project_days as day using (project, run_date)
order by held.project, held.run_date

-- name: forget_loads
-- The runs of the month are no longer in the store, so nothing of it is loaded and nothing is compared with it.
update project_days set loaded_at = null, loaded_runs = null, quarantined = null
where run_date >= %(first)s and run_date < %(first)s + interval '1 month'

-- name: remove_feedback
-- What belongs to the runs of a dropped month; the archive has it as well. The daily rollups stay: they are
-- small, and figures over many months remain to be had.
delete from feedback where run_date >= %(first)s and run_date < %(first)s + interval '1 month'

-- name: remove_versions
-- As remove_feedback.
delete from run_versions where run_date >= %(first)s and run_date < %(first)s + interval '1 month'

-- name: remove_quarantine
-- As remove_feedback.
delete from quarantine where run_date >= %(first)s and run_date < %(first)s + interval '1 month'
