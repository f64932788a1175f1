-- The statements about the indexes for searches.

-- name: months_without
-- The partitions of runs that have no part of an index yet, the oldest first.
select part.relname
from pg_inherits join pg_class as part on part.oid = inhrelid
where inhparent = 'runs'::regclass
  and not exists (
      select from pg_index join pg_inherits as attached on attached.inhrelid = indexrelid
      where indrelid = part.oid and attached.inhparent = to_regclass(%(index)s)
  )
order by part.relname

-- name: search_indexes
-- Those of runs itself; dropping one drops its parts.
select relname from pg_class join pg_index on indexrelid = oid
where indrelid = 'runs'::regclass and relname like 'runs\_search\_%'
order by relname

-- name: search_index_sizes
-- Of all parts together.
select whole.relname, coalesce(sum(pg_relation_size(inhrelid)), 0)::bigint
from pg_class as whole join pg_index on indexrelid = whole.oid left join pg_inherits on inhparent = whole.oid
where indrelid = 'runs'::regclass and whole.relname like 'runs\_search\_%'
group by whole.relname
order by whole.relname

-- name: has_trigrams
-- Whether the extension could be used: it is part of Postgres' contrib, which not every server has.
select 1 from pg_available_extensions where name = 'pg_trgm'
