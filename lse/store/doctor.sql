-- What the doctor asks the server. All of it is readable by any role.

-- name: server
-- Version and the settings that matter to loads and reports, in bytes or plain numbers.
select current_setting('server_version_num')::int as version,
       current_setting('server_version') as version_name,
       current_setting('autovacuum')::bool and current_setting('track_counts')::bool as autovacuum,
       pg_size_bytes(current_setting('max_wal_size')) as max_wal_size,
       pg_size_bytes(current_setting('shared_buffers')) as shared_buffers,
       current_setting('max_connections')::int
           - current_setting('superuser_reserved_connections')::int as max_connections,
       (select count(*)::int from pg_stat_activity where backend_type = 'client backend') as connections,
       coalesce((select extract(epoch from now() - min(xact_start))::float
                 from pg_stat_activity
                 where backend_type = 'client backend' and pid <> pg_backend_pid()), 0) as oldest_transaction,
       pg_is_in_recovery() as replica

-- name: indexes
-- Every index on the tables of lse in this schema, those of partitions under the name of their partitioned index.
select coalesce(whole.relname, own.relname) as name, own.relname as own_name, tab.relname as on_table,
       pg_index.indisvalid as valid, pg_index.indisunique as is_unique,
       pg_relation_size(own.oid) as size, coalesce(stat.idx_scan, 0) as scans
from pg_index
     join pg_class as own on own.oid = pg_index.indexrelid
     join pg_class as tab on tab.oid = pg_index.indrelid
     left join pg_inherits on inhrelid = own.oid
     left join pg_class as whole on whole.oid = inhparent
     left join pg_stat_user_indexes as stat on stat.indexrelid = own.oid
where tab.relnamespace = (select relnamespace from pg_class where oid = 'runs'::regclass)
  and tab.relkind in ('r', 'p')
order by tab.relname, own.relname

-- name: partitions
-- Each month of runs: its size, what is dead in it, when it was looked after, how much of it is all-visible. The
-- pages it needs are estimated from the mean width of its columns: 28 bytes of header and pointer a row.
select part.relname as name, part.relpages as pages, greatest(part.reltuples, 0)::bigint as rows,
       coalesce(stat.n_live_tup, 0) as live, coalesce(stat.n_dead_tup, 0) as dead,
       part.relallvisible as visible_pages,
       greatest(stat.last_vacuum, stat.last_autovacuum) as vacuumed_at,
       greatest(stat.last_analyze, stat.last_autoanalyze) as analyzed_at,
       pg_total_relation_size(part.oid) as size,
       ceil(greatest(part.reltuples, 0) * (28 + coalesce(width.bytes, 0)) / 8168)::bigint as needed_pages
from pg_inherits
     join pg_class as part on part.oid = inhrelid
     left join pg_stat_user_tables as stat on stat.relid = part.oid
     left join lateral (
         select sum(avg_width * (1 - null_frac)) as bytes from pg_stats
         where tablename = part.relname and schemaname = part.relnamespace::regnamespace::text
     ) as width on true
where inhparent = 'runs'::regclass
order by part.relname

-- name: sample_day
-- The largest day that is loaded: the plans of the statements are asked for with it.
select project, run_date, loaded_runs from project_days
where loaded_at is not null
order by loaded_runs desc nulls last
limit 1

-- name: sample_run
-- A run of that day.
select trace_id, run_id from runs where project = %(project)s and run_date = %(run_date)s limit 1
