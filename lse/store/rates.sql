-- The rates of a tenant that every process and machine shares.

-- name: take_call
-- Gives the seconds until the call may be sent. Keeps the times of the last `calls` calls in a ring: the next
-- one may be sent `seconds` after the oldest of them. One statement, so that the row is locked for a moment.
insert into rate_budgets as budget (tenant, calls, seconds, taken, times)
values (
    %(tenant)s, %(calls)s, %(seconds)s, 1,
    array_prepend(clock_timestamp(), array_fill('-infinity'::timestamptz, array[%(calls)s::int - 1]))
)
on conflict (tenant, calls, seconds) do update set
    taken = budget.taken + 1,
    times[(budget.taken %% budget.calls)::int + 1] = greatest(
        clock_timestamp(),
        budget.times[(budget.taken %% budget.calls)::int + 1] + budget.seconds * interval '1 second'
    )
returning greatest(0, extract(epoch from times[((taken - 1) %% calls)::int + 1] - clock_timestamp()))::float8

-- name: rest
-- Somebody's patience with the source ran out: nobody asks it for a while.
with told as (
    insert into events (kind, severity, data)
    select 'source.resting', 'warning', jsonb_build_object('seconds', %(seconds)s::float8)
)
update rate_budgets set rest_until = clock_timestamp() + %(seconds)s * interval '1 second'
where tenant = %(tenant)s

-- name: resting
-- How long the source is still to be left alone.
select greatest(0, extract(epoch from max(rest_until) - clock_timestamp()))::float8
from rate_budgets where tenant = %(tenant)s
