# shellcheck shell=bash
# What benches/compare/run and benches/reader/run share: the rows, who fills the cache with them, and what a fill has to leave behind.
# Sourced after scripts/lib.sh, in the project's folder; the caller has set -euo pipefail.
#
#   options ARGUMENT…       sets rows and rounds, or says how the script is used
#   begin FOLDER            installs what all need, starts the demo, makes the rows; FOLDER is for results
#   prepare CONTENDER…      what they need beyond that
#   empty                   makes the cache cold
#   fill CONTENDER          runs one; what it took is in wall, cpu and rss
#   make_sample NAME ROWS   chooses keys to look at
#   check CONTENDER COUNT SAMPLE
#                           ends the script unless the last fill left COUNT keys, and the SAMPLE's with their bytes and the whole lifetime
#   middle [spread]         prints the median of the numbers on standard input; with the least and the greatest, if asked
#
# A contender is a function `fill_NAME`.
# shellcheck disable=SC2154 # project comes from scripts/lib.sh

# How long each key lives, in seconds.
ttl=1800
here=$project/benches/compare
# Kept from one run to the next: what npm and pip have installed.
tools=$project/target/benches/compare/tools

# What stands at the head of the script says how it is used.
options() {
  while (($#)); do
    if [[ ! $1 =~ ^--(rows|rounds)$ || ! ${2:-} =~ ^[1-9][0-9]{0,8}$ ]]; then
      sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
      exit 2
    fi
    printf -v "${1#--}" %s "$2"
    shift 2
  done
}

begin() {
  made=$1
  # GNU time is for the CPU and the memory of each process.
  need_packages time
  say "Starting the demo, whose servers this uses"
  scripts/demo >/dev/null
  # shellcheck disable=SC1091
  . .demo/env
  home=$(readlink -f .demo/servers)
  # The same servers for all, over the same kind of connection: PostgreSQL as warm's account, Redis as the account of a server that has no others.
  export PGHOST=$home PGUSER=warm PGDATABASE=tikit PGPASSWORD PGCLIENTENCODING=UTF8
  PGPASSWORD=$(<.demo/password)
  export REDIS_SOCKET=$home/redis.sock REDIS_URL=unix://$home/redis.sock
  # Bash writes the time as the locale writes numbers.
  export LC_ALL=C
  unset WARM_STATE
  rm -rf "$made"
  mkdir -p "$made"
  trap leave EXIT
  # Three times what the rows take: nothing is evicted, and warm is far from its limit.
  scripts/demo redis-cli CONFIG SET maxmemory $((64 + rows * 3 / 1000))mb >/dev/null
  make_rows
  empty
}

leave() {
  scripts/demo psql -qc 'SET client_min_messages = warning' -c 'DROP SCHEMA IF EXISTS bench CASCADE' || true
  scripts/demo redis-cli FLUSHALL >/dev/null || true
  scripts/demo redis-cli CONFIG SET maxmemory 256mb >/dev/null || true
  rm -f "$made/bulk.resp"
}

# Events of a platform, some 730 bytes of JSON each. They hold what needs an escape, and what is longer in bytes than in letters. All libraries write
# the columns' types in the same way: there are no times, and no floats without a fraction.
make_rows() {
  say "Making $rows rows"
  scripts/demo psql -q --set=ON_ERROR_STOP=1 <<SQL
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;
CREATE TABLE bench.bulk AS
  SELECT n AS id, 'Live: concert No. ' || n || ' "Ọjọ́ Ayọ̀"' AS title,
         E'Doors open at 6.\nTickets from ₦' || n % 90 + 10 || ',000. '
           || encode(sha512(('a' || n)::bytea), 'hex') || encode(sha512(('b' || n)::bytea), 'hex') || encode(sha512(('c' || n)::bytea), 'hex') AS description,
         'c' || substr(md5('o' || n % 5000), 1, 24) AS "organizerId",
         'Grand Hall No. ' || n % 400 AS venue, (ARRAY['Lagos', 'Abuja', 'Kano', 'Rivers', 'Oyo', 'Kaduna'])[n % 6 + 1] AS state,
         n % 9000 / 1000.0::float8 + 4.0625 AS latitude, n % 7000 / 1000.0::float8 + 3.0625 AS longitude, n % 5 = 0 AS "isHidden",
         CASE WHEN n % 3 = 0 THEN substr(md5(n::text), 1, 8) END AS "accessCode", n % 1000 + 50 AS capacity, n % 50 AS "ticketsSold",
         'published' AS status
  FROM generate_series(1, $rows) n;
ALTER TABLE bench.bulk ADD PRIMARY KEY (id);
GRANT USAGE ON SCHEMA bench TO warm;
GRANT SELECT ON bench.bulk TO warm;
VACUUM (FREEZE, ANALYZE) bench.bulk;
CHECKPOINT;
SQL
  bytes=$(as_warm -c 'SELECT round(avg(octet_length(row_to_json(bulk)::text))) FROM bench.bulk')
  say "Each is $bytes bytes of JSON on average"
}

# psql as people run it in scripts.
as_warm() { psql -XAtq --set=ON_ERROR_STOP=1 "$@"; }
in_redis() { redis-cli -s "$REDIS_SOCKET" "$@"; }

# Redis' allocator gives back what it has, so that nobody gets the memory that the one before has left warm.
empty() {
  in_redis FLUSHDB >/dev/null
  in_redis MEMORY PURGE >/dev/null
}

# ---------------------------------------------------------------------------------------------------- who fills the cache

prepare() {
  local contender
  for contender in "$@"; do
    case $contender in
      node_*) install_node ;;
      python*) install_python ;;
      limit)
        say "Writing the commands to a file"
        resp >"$made/bulk.resp"
        # Or it would be written to the disk during the first rounds.
        sync "$made/bulk.resp"
        ;;
      warm_none) make_job none 'verify = "none"' ;;
      warm_default) make_job default '' ;;
    esac
  done
}

install_node() {
  command -v node >/dev/null && command -v npm >/dev/null || need_packages nodejs npm
  mkdir -p "$tools/node"
  cp "$here"/{package.json,plain.mjs,batches.mjs} "$tools/node"
  npm install --prefix "$tools/node" --no-audit --no-fund --no-package-lock --silent
}

install_python() {
  python3 -c 'import ensurepip' 2>/dev/null || need_packages python3 python3-venv
  [[ -x $tools/venv/bin/pip ]] || python3 -m venv "$tools/venv"
  "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
}

# make_job NAME FIELDS
make_job() {
  mkdir -p "$made/$1/jobs"
  # The limits of time are for any number of rows; nothing else is said that could make a run quicker or slower.
  cat >"$made/$1/warm.toml" <<TOML
jobs = "jobs"
state = "state"
[postgres]
statement_timeout = "5m"
[ttl]
"bulk:" = "${ttl}s"
TOML
  cat >"$made/$1/jobs/bulk.toml" <<TOML
query = "SELECT * FROM bench.bulk"
key = "bulk:{id}"
value = "row"
timeout = "1h"
$2
TOML
}

# The commands of the classic. psql ends each line with the line feed that is the end of the last argument's. OFFSET keeps the value from being made twice.
# shellcheck disable=SC2016
resp() {
  "$@" psql -XAtq --set=ON_ERROR_STOP=1 --set=FETCH_COUNT=2000 --command='
    SELECT concat(E'\''*5\r\n$3\r\nSET\r\n$'\'', octet_length(key), E'\''\r\n'\'', key, E'\''\r\n$'\'', octet_length(value), E'\''\r\n'\'', value, E'\''\r\n$2\r\nEX\r\n$4\r\n'"$ttl"'\r'\'')
    FROM (SELECT '\''bulk:'\'' || id AS key, row_to_json(bulk)::text AS value FROM bench.bulk OFFSET 0) entry'
}

fill_classic() { resp timed | timed redis-cli -s "$REDIS_SOCKET" --pipe; }
fill_limit() { timed redis-cli -s "$REDIS_SOCKET" --pipe <"$made/bulk.resp"; }
# fill_node_plain ROWS
fill_node_plain() { timed node "$tools/node/plain.mjs" "$1"; }
fill_node_batches() { timed node "$tools/node/batches.mjs"; }
fill_python() { timed "$tools/venv/bin/python" "$here/batches.py" 1000; }
fill_python_big() { timed "$tools/venv/bin/python" "$here/batches.py" 20000; }
fill_warm_none() { timed warm --now --config "$made/none/warm.toml"; }
fill_warm_default() { timed warm --now --config "$made/default/warm.toml"; }

# timed COMMAND…: runs it; its CPU and its memory go to a file, in which `fill` adds up those of all processes.
timed() { command time --append --output="$made/usage" --format='%U %S %M' -- "$@"; }

# shellcheck disable=SC2034
# fill CONTENDER [ARGUMENT…]: sets wall and cpu to seconds, rss to MB. Memory is the sum of all processes' peaks.
fill() {
  : >"$made/usage"
  began=$EPOCHREALTIME
  "fill_$1" "${@:2}" >"$made/log" 2>&1 || fail "$1 failed" "$(tail -n 20 "$made/log")"
  local ended=$EPOCHREALTIME
  wall=$(awk -v began="$began" -v ended="$ended" 'BEGIN { printf "%.3f", ended - began }')
  read -r cpu rss < <(awk '{ cpu += $1 + $2; rss += $3 } END { printf "%.2f %.0f\n", cpu, rss / 1024 }' "$made/usage")
}

# ---------------------------------------------------------------------------------------------------- what a fill has to leave

# make_sample NAME ROWS: up to 200 keys among the first ROWS, and what they have to hold, as PostgreSQL's own JSON has it.
make_sample() {
  local rows=$2 step=$((($2 + 199) / 200))
  as_warm -c "SELECT 'bulk:' || id FROM generate_series(1, $rows, $step) id ORDER BY id" >"$made/$1.keys"
  as_warm -c "SELECT row_to_json(bulk) FROM bench.bulk WHERE id <= $rows AND (id - 1) % $step = 0 ORDER BY id" >"$made/$1.values"
}

check() {
  local contender=$1 count=$2 sample=$3 found
  found=$(in_redis DBSIZE)
  [[ $found == "$count" ]] || fail "$contender left $found keys instead of $count" "$(tail -n 5 "$made/log")"
  sed 's/^/GET /' "$made/$sample.keys" | in_redis >"$made/found"
  cmp -s "$made/$sample.values" "$made/found" ||
    fail "$contender wrote other bytes; the first line that differs, as it should be and as it is:" \
      "$(diff "$made/$sample.values" "$made/found" | grep -m 1 '^<' || true)" "$(diff "$made/$sample.values" "$made/found" | grep -m 1 '^>' || true)"
  sed 's/^/TTL /' "$made/$sample.keys" | in_redis |
    awk -v most="$ttl" -v least="$(awk -v now="$EPOCHREALTIME" -v began="$began" -v ttl="$ttl" 'BEGIN { print ttl - (now - began) - 2 }')" '
      $1 < least || $1 > most { print "a lifetime of " $1 " s"; wrong = 1; exit } END { exit wrong }' >"$made/found" ||
    fail "$contender left $(<"$made/found"), the whole is $ttl s"
}

# ---------------------------------------------------------------------------------------------------- figures

middle() {
  sort -g | awk -v spread="${1:-}" '
    { value[NR] = $1 }
    END {
      middle = (value[int((NR + 1) / 2)] + value[int(NR / 2) + 1]) / 2
      printf (middle < 10 ? "%.2f" : middle < 100 ? "%.1f" : "%.0f"), middle
      if (spread) printf " (%.2f–%.2f)", value[1], value[NR]
    }'
}
