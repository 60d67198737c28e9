#!/usr/bin/env bash
# Reads, measured: rates, latencies, and the CPU that the server and Postgres spend on a request.
#
#   perf/reads.sh <pid of the server> <address, http://127.0.0.1:8380> <API key> [seconds a row] [row …]
#
# The tenant should hold the large set (`rosterhub sample --schools 400 --students-per-school 485 --subjects 3`), and
# `vacuum analyze` should have run. Needs wrk, curl and a Linux /proc; Postgres on the same machine.
set -euo pipefail
pid=$1 address=$2 key=$3 seconds=${4:-4}
shift $(($# < 4 ? $# : 4))
wanted=" $* "
base=$address/ims/oneroster/rostering/v1p2
auth="Authorization: Bearer $key"
get() { curl -sS -H "$auth" "$@"; }

# Milliseconds of CPU that the processes have used; those of Postgres as they are now, children that ended included.
cpu_of() { { cat "$@" 2>/dev/null || true; } | awk '{ sub(/.*\) /, ""); t += $12 + $13 + $14 + $15 } END { printf "%d\n", t * 10 }'; }
app() { cpu_of "/proc/$pid/stat"; }
pg() { cpu_of $(pgrep -x postgres | sed 's|.*|/proc/&/stat|'); }

# One row of the table. name, address, further arguments of wrk
row() {
    local name=$1 url=$2
    shift 2
    [[ $wanted == "  " || $wanted == *" ${name%% *} "* ]] || return 0
    get -o /dev/null "$url" # the first one counts the rows
    local line="| ${name#* } |" n
    for n in 1 32; do
        local a p out requests
        a=$(app) p=$(pg)
        out=$(wrk -t1 -c$n -d"${seconds}s" --latency --timeout 20s -H "$auth" "$@" "$url")
        a=$(($(app) - a)) p=$(($(pg) - p))
        requests=$(awk '/requests in/ { print $1 }' <<<"$out")
        grep -q 'Non-2xx' <<<"$out" && [[ $name != 304* ]] && echo "errors: $name" >&2
        line+=" $(awk -v a=$a -v p=$p -v n="$requests" '/Requests\/sec/ { rate = $2 } $1 == "50%" { p50 = $2 } $1 == "99%" { p99 = $2 }
            END { printf "%d | %s | %s | %d µs | %d µs |", rate, p50, p99, a * 1000 / n, p * 1000 / n }' <<<"$out")"
    done
    echo "$line"
}

user=$(get "$base/users?limit=1&offset=1000&fields=sourcedId" | grep -o 'sourcedId":"[^"]*' | cut -d'"' -f3)
class=$(get "$base/classes?limit=1&offset=100&fields=sourcedId" | grep -o 'sourcedId":"[^"]*' | cut -d'"' -f3)
name=$(get "$base/users/$user?fields=familyName" | grep -o 'familyName":"[^"]*' | cut -d'"' -f3)
name=$(printf %s "$name" | od -An -tx1 | tr -d ' \n' | sed 's/../%&/g')
deep=$(get -o /dev/null -D - "$base/users?limit=100&offset=89900" | grep -i '^link:' | grep -o '<[^>]*>; rel="next"' | cut -d'<' -f2 | cut -d'>' -f1)
tag=$(get -o /dev/null -D - "$base/users?limit=100" | grep -i '^etag:' | cut -d' ' -f2 | tr -d '\r')

echo '| | 1 connection: req/s | p50 | p99 | app CPU | pg CPU | 32 connections: req/s | p50 | p99 | app CPU | pg CPU |'
echo '|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|'
row "list list of 100" "$base/users?limit=100"
row "id by id" "$base/users/$user"
row "changed filter by status and dateLastModified" "$base/users?limit=100&filter=status='active'%20AND%20dateLastModified%3E'2020-01-01T00:00:00Z'"
row "name filter by familyName" "$base/users?limit=100&filter=familyName='$name'"
row "class students of a class" "$base/classes/$class/students?limit=100"
row "deep page at 90,000 by \`Link\`" "$deep"
row "offset page at 90,000 by \`offset\`" "$base/users?limit=100&offset=90000"
row "304 \`If-None-Match\` → 304" "$base/users?limit=100" -H "If-None-Match: $tag"

if [[ $wanted == "  " || $wanted == *" large "* ]]; then
    for n in 1 2 3; do
        get -o /dev/null -w '10,000 rows: %{size_download} bytes, first byte after %{time_starttransfer} s, all after %{time_total} s\n' \
            "$base/users?limit=10000"
    done
fi
grep VmHWM "/proc/$pid/status"
