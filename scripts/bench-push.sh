#!/usr/bin/env bash
# Measures pushes to a fake AWS account against coldsnap. See --help.
# `timed` calls the commands that are compared.
# shellcheck disable=SC2317
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<HELP
Usage: scripts/bench-push.sh [--runs N] [--coldsnap] [--large]

Pushes a disk of 1 GiB with 600 MB of data to the fake AWS account of scripts/fake-aws.sh, under
AWS's quota of 1,000 PUT/s, and prints, as medians of N rounds (default 3) whose commands take turns:

  full       a snapshot of the whole disk, with 100 and 30 ms of latency; with --coldsnap beside
             coldsnap upload, and beside coldsnap upload --omit-zero-blocks
  rate       seconds between the first block and the last one, beside what the quota or the latency
             allow
  delta      an update after a change of one line in the uppermost layer: blocks, requests that
             read the parent, and time, beside the whole
  unchanged  requests of a push that finds its image
  memory     the most that a push held at once

Each line ends with the bound it must hold; one that does not hold makes the exit code 1.

  --runs N    rounds
  --coldsnap  compare with coldsnap, which is compiled first and kept (about 20 minutes of a core);
              also lets each download what the other has uploaded
  --large     measure memory with a disk of 16 GiB (needs 35 GB of room)
HELP
}

runs=3 with_coldsnap=0 large=0
while [ $# -gt 0 ]; do
  case "$1" in
    --runs) runs="${2:?--runs needs a number}"; shift ;;
    --coldsnap) with_coldsnap=1 ;;
    --large) large=1 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
# shellcheck source=scripts/lib/bench.sh
. "$here/lib/bench.sh"
need curl python3
[ -x /usr/bin/time ] || fail 'GNU time is missing; hint: scripts/setup.sh --bench installs it'
cargo build --release --locked --quiet --example fake-aws

coldsnap_version=0.11.0
coldsnap="$cache/tools/coldsnap-$coldsnap_version/bin/coldsnap"
if [ "$with_coldsnap" = 1 ] && [ ! -x "$coldsnap" ]; then
  say "compiling coldsnap $coldsnap_version"
  cargo install --locked --quiet --version "$coldsnap_version" --root "$cache/tools/coldsnap-$coldsnap_version" coldsnap
fi

export XDG_STATE_HOME="$work/state"
fake_pid=''
stop_fake() {
  [ -z "$fake_pid" ] || kill "$fake_pid" 2>/dev/null || true
  wait "$fake_pid" 2>/dev/null || true
  fake_pid=''
}
trap 'stop_fake; rm -rf "$work"' EXIT
start_fake() { # FLAG...
  stop_fake
  rm -f "$work/fake.out"
  "$target/release/examples/fake-aws" "$@" >"$work/fake.out" &
  fake_pid=$!
  local tries=0
  until grep -q AWS_SECRET_ACCESS_KEY "$work/fake.out" 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || fail 'the fake account does not answer'
    sleep 0.05
  done
  # shellcheck source=/dev/null
  . "$work/fake.out"
}
own() { curl -fsS "$AWS_ENDPOINT_URL/-/$1"; }
calls() { own calls | jq "$1"; }

# An image of one file of noise below, and one of a line above. umoci does not fill the last file of a
# layer up to whole records of 512 bytes, so these files are whole.
umoci init --layout "$work/image"
umoci new --image "$work/image:latest"
head -c 589824000 /dev/urandom >"$work/noise"
umoci insert --image "$work/image:latest" "$work/noise" /data >/dev/null 2>&1
umoci config --image "$work/image:latest" --config.entrypoint /none
cp -r "$work/image" "$work/below"
with_line() { # TEXT: the image whose uppermost layer says so
  rm -rf "$work/image"
  cp -r "$work/below" "$work/image"
  printf '%-511s\n' "$1" >"$work/line"
  umoci insert --image "$work/image:latest" "$work/line" /app.conf >/dev/null 2>&1
}
cat >"$work/pod.yaml" <<YAML
apiVersion: v1
kind: Pod
metadata: {name: bench}
spec:
  containers: [{name: bench, image: "oci:$work/image"}]
YAML
of_pod=(-f "$work/pod.yaml" --base "oci:$base" --cache-dir "$work/cache")
with_line one
"$i2kit" build -q "${of_pod[@]}" -o "$work/disk.raw"
rest=$(((1073741824 - $(stat -c %s "$work/disk.raw")) / 1048576))
of_pod+=(--scratch "${rest}MiB")
"$i2kit" build -q "${of_pod[@]}" -o "$work/disk.raw"

turn=0
push() { # FLAG...: of a name that nothing has yet, with the answer in answer.json
  turn=$((turn + 1))
  "$i2kit" push -q "${of_pod[@]}" --json --name "bench-$turn" --parent none "$@" >"$work/answer.json"
}
full() { push --snapshot-only; }
# The first push has the fake take memory for the blocks.
start_warm() { # FLAG...
  start_fake "$@"
  full
  own forget >/dev/null
}
upload() { "$coldsnap" --endpoint "$AWS_ENDPOINT_URL" upload --no-progress "$work/disk.raw" >"$work/snapshot"; }
upload_nonzero() {
  "$coldsnap" --endpoint "$AWS_ENDPOINT_URL" upload --no-progress --omit-zero-blocks "$work/disk.raw" >/dev/null
}

rates() { # LATENCY
  own puts | jq -r --argjson latency "$1" '
    [.seconds, ([.puts / 1000, .puts * $latency / 1000 / .peak] | max)] | @tsv' >"$work/rate"
  cut -f1 "$work/rate" >>"$work/times/rate$1"
  cut -f2 "$work/rate" >>"$work/times/ideal$1"
}

printf '%-34s %10s  %10s  %7s\n' "push of $(mib "$(stat -c %s "$work/disk.raw")"), $(nproc) cores" i2kit other ratio
for latency in 100 30; do
  start_warm --latency "$latency"
  for round in $(seq "$runs"); do
    say "latency of $latency ms, round $round of $runs"
    own forget >/dev/null
    timed "full$latency" full
    rates "$latency"
    if [ "$with_coldsnap" = 1 ]; then
      timed "coldsnap$latency" upload
      timed "nonzero$latency" upload_nonzero
    fi
  done
  against "blocks at $latency ms, ideal" "rate$latency" "ideal$latency" 1.15
  if [ "$with_coldsnap" = 1 ]; then
    against "full at $latency ms, coldsnap" "full$latency" "coldsnap$latency" "$([ "$latency" = 100 ] && echo 0.5 || echo 0.65)"
    against '  with --omit-zero-blocks' "full$latency" "nonzero$latency" "$([ "$latency" = 100 ] && echo 0.85 || echo 1.1)"
  fi
done

# What a push found without any local state sends.
update() { "$i2kit" push -q "${of_pod[@]}" --json --name updates >"$work/answer.json"; }
start_fake --latency 30
with_line zero
own forget >/dev/null
timed first update
blocks=$(calls '."ebs:PutSnapshotBlock"')
requests=$(calls 'add')
for round in $(seq "$runs"); do
  with_line "turn $round"
  "$i2kit" build -q "${of_pod[@]}" -o "$work/updated.raw"
  own forget >/dev/null
  timed delta update
done
first=$(cat "$work/times/first")
for _ in $(seq 2 "$runs"); do printf '%s\n' "$first" >>"$work/times/first"; done
jq -e 'all(.[]; .parent != null)' "$work/answer.json" >/dev/null || fail 'the update found no parent'
share() { awk -v part="$1" -v all="$2" 'BEGIN { print 100 * part / all }'; }
measured 'delta: blocks of the whole' "$(share "$(calls '."ebs:PutSnapshotBlock"')" "$blocks")" % 5
measured 'delta: requests that read' \
  "$(share "$(calls '(."ebs:GetSnapshotBlock" // 0) + (."ebs:ListSnapshotBlocks" // 0)')" "$requests")" % 2
against 'delta, the whole' delta first 0.15
own forget >/dev/null
update
measured 'nothing changed: requests' "$(calls 'add')" '' 10

# How many blocks a second these cores can sign, send and, beside that, take.
start_warm --latency 30 --put-rate 100000
full
measured 'seconds for 1,000 blocks' "$(own puts | jq '1000 * .seconds / .puts')" s 1.05
start_warm --latency 0 --put-rate 100000
full
say "without latency: $(own puts | jq -r '"\(.puts / .seconds | floor) blocks/s, \(.peak) at a time"')"

memory_of() { # COMMAND...
  /usr/bin/time -f %M -o "$work/memory" "$@" >/dev/null
  mebibytes $((1024 * $(cat "$work/memory")))
}
start_fake --latency 30
measured 'most memory, 1 GiB' \
  "$(memory_of "$i2kit" push -q "$work/disk.raw" --json --name memory --parent none --snapshot-only)" MiB 200
if [ "$large" = 1 ]; then
  # One block again and again: the account keeps it once, and a push does not notice.
  umoci init --layout "$work/large"
  umoci new --image "$work/large:latest"
  head -c 524288 /dev/urandom >"$work/piece"
  python3 -c "
import sys
piece = open(sys.argv[1], 'rb').read()
with open(sys.argv[2], 'wb') as out:
    for _ in range(32000):
        out.write(piece)" "$work/piece" "$work/noise"
  umoci insert --image "$work/large:latest" "$work/noise" /data >/dev/null 2>&1
  rm "$work/noise"
  umoci config --image "$work/large:latest" --config.entrypoint /none
  of_large=(--compression none --base "oci:$base" --from "oci:$work/large" --cache-dir "$work/cache")
  # The layer is converted before it is measured.
  "$i2kit" push -q "${of_large[@]}" --json --name large --parent none --snapshot-only --dry-run >/dev/null
  measured 'most memory, 16 GiB' \
    "$(memory_of "$i2kit" push -q "${of_large[@]}" --json --name large --parent none --snapshot-only)" MiB 200
fi

# Each reads what the other has written.
if [ "$with_coldsnap" = 1 ]; then
  start_fake
  "$i2kit" push -q "$work/disk.raw" --json --name for-coldsnap --parent none --snapshot-only >"$work/answer.json"
  "$coldsnap" --endpoint "$AWS_ENDPOINT_URL" download --no-progress "$(jq -r '.[0].snapshot' "$work/answer.json")" "$work/by-coldsnap.raw"
  cmp "$work/disk.raw" "$work/by-coldsnap.raw" || { missed=1; say 'coldsnap downloads another disk: MISSED'; }
  upload
  "$i2kit" fetch -q "$(cat "$work/snapshot")" -o "$work/by-i2kit.raw"
  cmp -n "$(stat -c %s "$work/disk.raw")" "$work/disk.raw" "$work/by-i2kit.raw" || { missed=1; say 'i2kit downloads another disk: MISSED'; }
  printf '%-34s each downloads what the other has uploaded\n' coldsnap
fi
exit "$missed"
