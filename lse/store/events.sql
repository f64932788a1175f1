-- Events: written with the ledger, read in an order in which none is missed.

-- name: write_event
insert into events (kind, severity, project, run_date, step, origin, fingerprint, data)
values (%(kind)s, %(severity)s, %(project)s, %(run_date)s, %(step)s, %(origin)s, %(fingerprint)s, %(data)s)

-- name: known_fetch
select from project_days
where project = %(project)s and run_date = %(run_date)s and fetched_at = %(fetched_at)s

-- name: next_events
-- Ids and times are drawn before a transaction ends, so neither orders what a reader sees; below the oldest
-- running transaction nothing is added any more.
select id, xid::text, at, kind, severity, project, run_date, step, origin, fingerprint, data
from events
where (xid, id) > (%(xid)s::text::xid8, %(id)s)
  and xid < pg_snapshot_xmin(pg_current_snapshot())
  and (%(kind)s::text is null or kind like %(kind)s)
  and (%(project)s::text is null or project = %(project)s)
order by events.xid, id
limit %(limit)s

-- name: last_events
-- The same, from the end.
select * from (
    select id, xid::text, at, kind, severity, project, run_date, step, origin, fingerprint, data
    from events
    where xid < pg_snapshot_xmin(pg_current_snapshot())
      and (%(since)s::timestamptz is null or at >= %(since)s)
      and (%(kind)s::text is null or kind like %(kind)s)
      and (%(project)s::text is null or project = %(project)s)
    order by events.xid desc, id desc
    limit %(limit)s
) as last
order by last.xid::xid8, id

-- name: failures
-- A failure is solved once the same step of the same day told of success later.
with failed as (
    select id, at, project, run_date, coalesce(step, '') as step, origin, fingerprint, data ->> 'message' as message,
           exists (
               select from events as later
               where later.project = events.project and later.run_date = events.run_date
                 and later.step = events.step and later.at > events.at and later.severity = 'info'
           ) as solved
    from events
    where kind in ('step.failed', 'day.partial') and at >= %(since)s
      and (%(project)s::text is null or project = %(project)s)
)
select coalesce(fingerprint, '') as fingerprint, step,
       count(*) as count, count(distinct (project, run_date)) as days,
       min(at) as first, max(at) as last,
       (array_agg(project || '/' || run_date order by id desc))[1] as last_day,
       (array_agg(origin order by id desc))[1] as last_origin,
       count(distinct origin) as origins,
       coalesce((array_agg(message order by id desc))[1], '') as message,
       bool_and(solved) as solved
from failed
group by failed.fingerprint, step
order by count desc, last desc

-- name: forget
-- An alert that still stands would be told again.
delete from events
where at < now() - %(days)s * interval '1 day'
  and not (
      kind = 'alert.raised' and not exists (
          select from events as later
          where later.kind = 'alert.cleared' and later.data ->> 'cause' = events.data ->> 'cause'
            and later.id > events.id
      )
  )
