#!/usr/bin/env bash
# What the access log costs: CPU of the hub and of Postgres for a read, with the log on and off, in turns.
#
#   perf/access.sh <binary> <empty folder> [seconds a turn] [turns]
#
# Two hubs of one binary on one private Postgres: only one of them is asked at a time. Needs wrk, curl and a Linux /proc.
set -euo pipefail
binary=$1 folder=$2 seconds=${3:-4} turns=${4:-5}
export ROSTERHUB_DATA_DIR=$folder ROSTERHUB_LOG=warn
"$binary" tenant create midori >/dev/null
"$binary" sample --schools 20 --students-per-school 490 --out "$folder/set.zip" >/dev/null
"$binary" import "$folder/set.zip" --tenant midori --apply always >/dev/null
key=$("$binary" client create --tenant midori --name perf --scopes roster.readonly --api-key --json | grep -o 'apiKey":"[^"]*' | cut -d'"' -f3)
ROSTERHUB_LISTEN=127.0.0.1:8481 ROSTERHUB_ACCESS_LOG=false "$binary" serve 2>"$folder/off.log" & off=$!
ROSTERHUB_LISTEN=127.0.0.1:8482 ROSTERHUB_ACCESS_LOG=true "$binary" serve 2>"$folder/on.log" & on=$!
trap 'kill $off $on 2>/dev/null; wait' EXIT
auth="Authorization: Bearer $key"
for port in 8481 8482; do
    until curl -sf -o /dev/null "http://127.0.0.1:$port/health/ready"; do :; done
done
path=/ims/oneroster/rostering/v1p2/users
curl -sS -H "$auth" "http://127.0.0.1:8481$path?limit=10000&fields=sourcedId" | grep -o 'sourcedId":"[^"]*' | cut -d'"' -f3 >"$folder/ids"
cat >"$folder/single.lua" <<LUA
local ids = {}
for id in io.lines("$folder/ids") do ids[#ids + 1] = id end
math.randomseed(7)
request = function() return wrk.format("GET", "$path/" .. ids[math.random(#ids)]) end
LUA

postmaster=$(head -1 "$folder/pg/postmaster.pid")
cpu_of() { { cat "$@" 2>/dev/null || true; } | awk '{ sub(/.*\) /, ""); t += $12 + $13 + $14 + $15 } END { printf "%d\n", t * 10 }'; }
pg() { cpu_of "/proc/$postmaster/stat" $(pgrep -P "$postmaster" | sed 's|.*|/proc/&/stat|'); }

# One turn: µs of the hub and of Postgres for a request, with what is written behind it.
turn() {
    local pid=$1 url=$2 a p n
    shift 2
    a=$(cpu_of "/proc/$pid/stat") p=$(pg)
    n=$(wrk -t1 -c8 -d"${seconds}s" -H "$auth" "$@" "$url" | awk '/requests in/ { print $1 }')
    sleep 1.5 # the last entries are written
    echo "$((($(cpu_of "/proc/$pid/stat") - a) * 1000)) $((($(pg) - p) * 1000)) $n" | awk '{ printf "%.2f %.2f %d\n", $1 / $3, $2 / $3, $3 }'
}

row() {
    local name=$1 rest=$2 n
    shift 2
    for port in 8481 8482; do turn "$([[ $port = 8481 ]] && echo $off || echo $on)" "http://127.0.0.1:$port$rest" "$@" >/dev/null; done
    for ((n = 1; n <= turns; n++)); do
        echo "$name off $(turn $off "http://127.0.0.1:8481$rest" "$@")"
        echo "$name on $(turn $on "http://127.0.0.1:8482$rest" "$@")"
    done
}
{
    row list "$path?limit=100"
    row single "$path" -s "$folder/single.lua"
} | tee "$folder/turns" | awk '{ print } { key = $1 " " $2; a[key] += $3; p[key] += $4; n[key]++ }
    END { for (key in n) printf "mean %s: hub %.1f µs, Postgres %.1f µs, together %.1f µs\n", key, a[key] / n[key], p[key] / n[key], (a[key] + p[key]) / n[key] }'
