#!/usr/bin/env bash
# From a fresh clone to a page served by a virtual machine. See --help.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<HELP
Usage: scripts/demo.sh

Installs what is missing (scripts/setup.sh), builds i2kit, the base image and a sample nginx image
from Debian's packages, runs the Pod of fixtures/manifests/nginx.yaml in a virtual machine, fetches
its page through a forwarded port, prints what was done with sizes and times, and powers the
machine off. A second run takes seconds.
HELP
}

case "${1:-}" in
  '') ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac
# shellcheck source=scripts/lib/common.sh
. "$here/lib/common.sh"
cd "$here/.."

step() { # NAME COMMAND...
  local name="$1" start=$SECONDS
  shift
  "$@"
  say "== $name: $((SECONDS - start)) s"
}

step 'set-up' "$here/setup.sh"
step 'build i2kit' cargo build --release --locked --quiet
step 'base image' "$here/build-base.sh"
step 'sample images' "$here/build-sample.sh"

target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
log=$(mktemp)
start=$SECONDS
"$target/release/i2kit" run -f fixtures/manifests/nginx.yaml \
  --image "nginx=oci:$cache/samples/nginx" -p 0:80 >"$log" 2>&1 &
vm=$!
# shellcheck disable=SC2317 # the trap calls it
stop() {
  kill -INT "$vm" 2>/dev/null || true
  rm -f "$log"
}
trap stop EXIT

# The machine tells which host port it took.
port='' page=''
while [ -z "$page" ]; do
  [ $((SECONDS - start)) -lt 180 ] || { cat "$log" >&2; fail 'the page did not come within 180 s'; }
  kill -0 "$vm" 2>/dev/null || { cat "$log" >&2; fail 'the machine ended before its page came'; }
  port=$(sed -n 's/.*127\.0\.0\.1:\([0-9]*\) -> 80.*/\1/p' "$log" | head -n 1)
  if [ -n "$port" ]; then page=$(curl -fsS -m 5 "http://127.0.0.1:$port/" 2>/dev/null) || sleep 0.2; else sleep 0.2; fi
done
answered=$((SECONDS - start))
kill -INT "$vm"
code=0
wait "$vm" || code=$?
cat "$log" >&2
say "== the page, $answered s after the start, from http://127.0.0.1:$port/:"
printf '%s\n' "$page"
say "== the machine powered off; the Pod's exit code: $code"
exit "$code"
