#!/usr/bin/env bash
# What proofs cost: imports of one set with and without salts, in turns; then the tree, the examinations and a bundle.
# perf/audit.sh <binary> <set.zip> <host of a Postgres with the superuser postgres> <port> [rounds]
# The role rosterhub must be there; the databases perf_base and perf_audit are made anew.
set -euo pipefail
binary=$1 set=$2 host=$3 port=$4 rounds=${5:-2}
sql() { psql -q -h "$host" -p "$port" -U postgres "$@"; }
ROSTERHUB_DATA_DIR=$(mktemp -d)
export DATABASE_URL ROSTERHUB_DATA_DIR ROSTERHUB_LOG=warn
timed() {
  local start; start=$(date +%s.%N)
  "$@" >"$ROSTERHUB_DATA_DIR/out"
  echo "$(echo "$(date +%s.%N) - $start" | bc) s: ${*:2}"
}
fresh() {
  sql -c "drop database if exists $1" -c "create database $1 owner rosterhub"
  DATABASE_URL="postgres://rosterhub@localhost/$1?host=$host&port=$port"
  "$binary" tenant create midori >/dev/null
}
for _ in $(seq "$rounds"); do
  fresh perf_base
  sql -d perf_base -c "drop trigger only_erasure on events" \
    -c "alter table events drop constraint events_commitment, drop column salt, drop column commitment"
  timed "$binary" --json import "$set" --tenant midori --apply always
  fresh perf_audit
  timed "$binary" --json import "$set" --tenant midori --apply always
done
timed "$binary" audit checkpoint --tenant midori
timed "$binary" audit verify --tenant midori
timed "$binary" verify --tenant midori
timed "$binary" audit bundle --tenant midori --out "$ROSTERHUB_DATA_DIR/bundle"
timed "$binary" audit check "$ROSTERHUB_DATA_DIR/bundle"
ls -l "$ROSTERHUB_DATA_DIR/bundle"
sql -d perf_audit -c "select count(*) as events, (select pg_total_relation_size('audit_tiles')) as tiles from events"
rm -rf "$ROSTERHUB_DATA_DIR"
