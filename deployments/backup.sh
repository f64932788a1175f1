#!/bin/sh
# Dump both databases, keep the last $KEEP dumps of each, sleep for a day; for ever. A dump that breaks off never
# takes the place of a whole one. What is archived is not in here: zips and trace files are files.
set -eu
PGPASSWORD="$(cat /run/secrets/postgres_password)"
export PGPASSWORD
umask 077
while true; do
  for name in lse prefect; do
    file="/backups/$name-$(date -u +%Y%m%dT%H%M%SZ).dump"
    pg_dump --format=custom --file="$file.part" "$name"
    mv "$file.part" "$file"
    ls -1 "/backups/$name-"*.dump | sort -r | tail -n "+$((KEEP + 1))" | xargs -r rm --
  done
  sleep 86400
done
