-- What is measured of the archive as a whole: from the ledger, the events and the rollups.

-- name: lag
select project, extract(epoch from now() - (max(run_date) + 1)::timestamp at time zone 'UTC')::float8 as value
from project_days where complete group by project order by project

-- name: last_complete
select project, extract(epoch from (max(run_date) + 1)::timestamp at time zone 'UTC')::float8 as value
from project_days where complete group by project order by project

-- name: archived
select project, sum(runs)::float8 as value
from project_days where runs is not null group by project order by project

-- name: quarantined
select project, coalesce(sum(quarantined), 0)::float8 as value
from project_days group by project order by project

-- name: states
-- Each day counts once, under the first state that fits.
select state, count(day.state)::float8 as value
from unnest(array['failed', 'differs', 'partial', 'verified', 'fetched', 'imported']) as state
left join (
    select case
        when failed_step is not null then 'failed'
        when differences > 0 then 'differs'
        when complete is false and api is distinct from 'import' then 'partial'
        when complete and verified_at >= fetched_at then 'verified'
        when complete then 'fetched'
        else 'imported'
    end as state
    from project_days
) as day using (state)
group by state order by state

-- name: step_seconds
-- How long each step that was run took: cumulative buckets, as Prometheus wants them. 'Infinity' holds all.
select ran ->> 0 as step, bucket as le, count(*) filter (where (ran ->> 2)::float8 <= bucket)::float8 as value,
       sum((ran ->> 2)::float8) as total
from events, jsonb_array_elements(data -> 'steps') as ran,
     unnest(array[0.1, 1, 10, 60, 300, 1800, 7200, 'Infinity']::float8[]) as bucket
where kind = 'sweep.finished' and ran ->> 2 is not null
group by 1, 2 order by 1, 2

-- name: failures
select step, count(*)::float8 as value from events where kind = 'step.failed' group by step order by step

-- name: resting
select (coalesce(max(rest_until), '-infinity') > now())::int::float8 as value from rate_budgets

-- name: differences
select project, coalesce(sum(differences), 0)::float8 as value
from project_days group by project order by project

-- name: uploaded_bytes
select project, sum(zip_size)::float8 as value
from project_days where uploaded_at is not null and target = 'drive' group by project order by project

-- name: quarantine_growth
-- What was set aside within the last day, by project and day.
select project, run_date, count(*) as items
from quarantine where quarantined_at > %(now)s::timestamptz - interval '1 day'
group by project, run_date order by project, run_date

-- name: error_spikes
-- Days of which more runs failed than three times the median of the seven days before, in share and by ten.
with days as (
    select project, run_date, sum(runs) as runs,
           coalesce(sum(runs) filter (where status = 'error'), 0) as failed
    from daily_rollups
    where run_date >= %(day)s::date - 7 and run_date <= %(day)s
    group by project, run_date
), before as (
    select project, percentile_cont(0.5) within group (order by (failed / runs)::float8) as median
    from days where run_date < %(day)s group by project
)
select project, failed::bigint as failed, runs::bigint as runs, median
from days join before using (project)
where run_date = %(day)s and failed >= 10 and failed / runs > 3 * median
order by project

-- name: standing_alerts
-- The causes of alerts that were told and are not over.
select data ->> 'cause' as cause
from (
    select distinct on (data ->> 'cause') kind, data
    from events where kind in ('alert.raised', 'alert.cleared')
    order by data ->> 'cause', id desc
) as last
where kind = 'alert.raised'
