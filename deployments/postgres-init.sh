#!/bin/sh
# Two roles with a database each: what Prefect stores never mixes with the runs.
set -eu
for name in lse prefect; do
  variable="$(echo "$name" | tr '[:lower:]' '[:upper:]')_PASSWORD_FILE"
  eval "file=\$$variable"
  psql --username "$POSTGRES_USER" --set ON_ERROR_STOP=1 --set name="$name" --set password="$(cat "$file")" <<'SQL'
create role :"name" login password :'password';
create database :"name" owner :"name";
SQL
done
