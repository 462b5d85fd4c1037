#!/usr/bin/env bash
# Runs all tests. See --help.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<HELP
Usage: scripts/test.sh [--all] [FILTER...]

Installs what is missing (scripts/setup.sh --test), checks format, lints and scripts, builds the
base and sample images where they are not in the cache, runs every test (boot tests included,
with cargo-nextest where it is there, else with cargo test). Ends with the test runner's summary.

  --all   also the slow tests (marked #[ignore])
  FILTER  only tests whose names contain one of these; format and lints are left out
HELP
}

all=0 filters=()
while [ $# -gt 0 ]; do
  case "$1" in
    --all) all=1 ;;
    -h | --help) usage; exit 0 ;;
    -*) usage >&2; exit 2 ;;
    *) filters+=("$1") ;;
  esac
  shift
done
# shellcheck source=scripts/lib/common.sh
. "$here/lib/common.sh"
cd "$here/.."

step() { # NAME COMMAND...
  local name="$1" start=$SECONDS
  shift
  say "== $name"
  "$@"
  say "== $name: $((SECONDS - start)) s"
}

scripts_check() {
  shellcheck -x .ci/run scripts/*.sh scripts/lib/*.sh
}

tests_with_nextest() {
  local ignored=()
  [ "$all" = 0 ] || ignored=(--run-ignored all)
  cargo nextest run --locked --workspace "${ignored[@]}" "${filters[@]}"
}

# cargo test knows no groups: boot tests run one at a time after the others.
tests_with_cargo() {
  local ignored=() limit='timeout --kill-after=10 5400'
  [ "$all" = 0 ] || ignored=(--include-ignored)
  if [ "${#filters[@]}" -gt 0 ]; then
    $limit cargo test --locked --workspace --no-fail-fast -- --test-threads=1 "${ignored[@]}" "${filters[@]}"
    return
  fi
  $limit cargo test --locked --workspace --no-fail-fast -- "${ignored[@]}" --skip boot::
  $limit cargo test --locked -p i2kit --test main --no-fail-fast -- --test-threads=1 "${ignored[@]}" boot::
}

step 'set-up' "$here/setup.sh" --test
if [ "${#filters[@]}" = 0 ]; then
  step 'format' cargo fmt --all --check
  step 'scripts' scripts_check
  step 'lints' cargo clippy --locked --workspace --all-targets -- -D warnings
fi
step 'base image' "$here/build-base.sh"
step 'sample images' "$here/build-sample.sh"
step 'oracles' "$here/build-oracles.sh"
step 'Python oracles' "$here/build-python-oracles.sh"
# A few seconds of each: that the targets build and hold. scripts/fuzz.sh alone goes on longer.
fuzz() {
  if cargo +nightly --version >/dev/null 2>&1; then
    "$here/fuzz.sh" --seconds 2
  else
    say 'there is no nightly toolchain: fuzz targets are only replayed, by the tests'
  fi
}

if [ "${#filters[@]}" = 0 ]; then
  step 'fuzz' fuzz
  step 'examples in comments' cargo test --locked --workspace --doc --quiet
fi
if cargo nextest --version >/dev/null 2>&1; then
  step 'tests' tests_with_nextest
else
  say 'cargo-nextest is not there: the tests run with cargo test, which has no time limits per test'
  step 'tests' tests_with_cargo
fi
