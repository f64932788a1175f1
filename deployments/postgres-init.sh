#!/bin/sh
# A database each for the runs and for Prefect, which never mix. `lse` owns the runs and migrates; `lse_runtime`
# loads, and may make the schema of a drill; `lse_readonly` reads. `lse db roles --apply` gives both their rights.
set -eu

as_superuser() {
  psql --username "$POSTGRES_USER" --no-psqlrc --quiet --set ON_ERROR_STOP=1 "$@"
}

for name in lse lse_runtime lse_readonly prefect; do
  as_superuser --set name="$name" --set password="$(cat "${SECRETS:-/run/secrets}/${name}_password")" <<'SQL'
create role :"name" login password :'password';
SQL
done
as_superuser <<'SQL'
alter role lse createrole;
grant lse_runtime, lse_readonly to lse with admin option;
create database lse owner lse;
create database prefect owner prefect;
grant create on database lse to lse_runtime;
SQL
