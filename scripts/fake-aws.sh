#!/usr/bin/env bash
# Runs a fake AWS account on this machine. See --help.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<HELP
Usage: scripts/fake-aws.sh [--background] [FLAG...]
       scripts/fake-aws.sh --stop

Builds and runs the strict fake of EBS direct, EC2, SSM, autoscaling and STS that the tests use, on
127.0.0.1, and prints the variables that lead clients to it, as lines for a shell:

  eval "\$(scripts/fake-aws.sh --background)"

What is pushed to it lies in memory and is gone when it ends.

  --background   go on without it once it listens; --stop ends it
  --stop         end the one that runs in the background
  --port N       listen there (default 0: a free port)
  --latency MS   every answer waits so long
  --put-rate N   PutSnapshotBlock (and GetSnapshotBlock) requests a second (default 1000, AWS's quota)
  --block-size N bytes of a block (default 524288)
  --pending MS   images are pending so long
  --faults SEED  something goes wrong now and then
  --folder DIR   keep blocks in a nameless file there instead of in memory
  --program FILE run this one instead of building it
HELP
}

background=0 stop=0 program='' flags=()
while [ $# -gt 0 ]; do
  case "$1" in
    --background) background=1 ;;
    --stop) stop=1 ;;
    --port | --latency | --put-rate | --block-size | --pending | --faults | --folder)
      flags+=("$1" "${2:?$1 needs a value}")
      shift
      ;;
    --program) program="${2:?--program needs a file}"; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
# shellcheck source=scripts/lib/common.sh
. "$here/lib/common.sh"
run="$cache/run"
mkdir -p "$run"
pid_file="$run/fake-aws.pid" out_file="$run/fake-aws.out"

# The process in the background, if it is still that program.
running() {
  local pid
  pid=$(cat "$pid_file" 2>/dev/null) || return 1
  [ "$(basename "$(readlink "/proc/$pid/exe" 2>/dev/null)")" = fake-aws ] && printf '%s\n' "$pid"
}

if [ "$stop" = 1 ]; then
  if pid=$(running); then kill "$pid"; fi
  rm -f "$pid_file" "$out_file"
  exit 0
fi

cd "$here/.."
need cargo jq
if [ -z "$program" ]; then
  cargo build --release --locked --quiet --example fake-aws >&2
  program=$(cargo metadata --no-deps --format-version 1 | jq -r .target_directory)/release/examples/fake-aws
fi
if [ "$background" = 0 ]; then
  exec "$program" "${flags[@]}"
fi
if pid=$(running); then
  fail "one runs already, process $pid; hint: scripts/fake-aws.sh --stop"
fi
"$program" "${flags[@]}" >"$out_file" 2>&1 </dev/null &
printf '%s\n' $! >"$pid_file"
tries=0
# It prints all lines at once, the secret's last.
until grep -q '^export AWS_SECRET_ACCESS_KEY=' "$out_file"; do
  running >/dev/null || [ "$tries" -lt 20 ] || fail "the fake ended: $(cat "$out_file")"
  tries=$((tries + 1))
  [ "$tries" -lt 200 ] || fail 'the fake does not listen'
  sleep 0.05
done
cat "$out_file"
