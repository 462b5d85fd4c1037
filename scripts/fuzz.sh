#!/usr/bin/env bash
# Fuzzes the parsers of outside data. See --help.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<HELP
Usage: scripts/fuzz.sh [--seconds N] [--cloud] [TARGET...]

Fuzzes every target in fuzz/ (or those named) with libFuzzer and AddressSanitizer, N seconds each
(default 60). Needs a nightly toolchain; installs cargo-fuzz into i2kit's cache folder. Starts from
the seeds of fuzz/src/seeds.rs and the inputs kept in fuzz/corpus/; what it finds on the way stays
in the cache folder for the next time.

--cloud takes the targets of what Amazon answers and of ledgers along, which takes minutes more to
build.

A crash ends the run with exit code 1; its input lies in fuzz/artifacts/TARGET/. Once mended, keep
the input in fuzz/corpus/TARGET/: the tests replay it for ever.
HELP
}

seconds=60 targets=() features=()
while [ $# -gt 0 ]; do
  case "$1" in
    --seconds) seconds="${2:?--seconds needs a number}"; shift ;;
    --cloud) features=(--features cli) ;;
    -h | --help) usage; exit 0 ;;
    -*) usage >&2; exit 2 ;;
    *) targets+=("$1") ;;
  esac
  shift
done
# shellcheck source=scripts/lib/common.sh
. "$here/lib/common.sh"
cd "$here/.."

# One version, so that every machine fuzzes alike.
version=0.13.2
cargo +nightly --version >/dev/null 2>&1 ||
  fail 'there is no nightly toolchain; hint: rustup toolchain install nightly'
tools="$cache/tools/cargo-fuzz-$version"
if [ ! -x "$tools/bin/cargo-fuzz" ]; then
  say "installing cargo-fuzz $version"
  cargo install --quiet --locked --root "$tools" "cargo-fuzz@$version" >&2
fi
export PATH="$tools/bin:$PATH"

seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT
cargo run --quiet --locked --example fuzz-seeds -- "$seeds"

say 'building the targets'
# No target runs the guest's program: any file does for it.
export I2KIT_INIT="$PWD/Cargo.toml"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/fuzz"
cargo +nightly fuzz build "${features[@]}" >&2
if [ "${#targets[@]}" -eq 0 ]; then
  mapfile -t targets < <(cargo +nightly fuzz list)
  # Those that were not built.
  if [ "${#features[@]}" -eq 0 ]; then
    mapfile -t targets < <(printf '%s\n' "${targets[@]}" | grep -vxE 'ledger|answer')
  fi
fi

for target in "${targets[@]}"; do
  found="$cache/fuzz/$target" kept="fuzz/corpus/$target"
  mkdir -p "$found" "$kept"
  say "fuzzing $target for $seconds s"
  log="$seeds/log"
  # One input may take 10 s and 1 GiB, sanitizer included: no parser here needs a hundredth of it.
  if ! cargo +nightly fuzz run "${features[@]}" "$target" "$found" "$kept" "$seeds/$target" -- \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 >"$log" 2>&1; then
    tail -n 60 "$log" >&2
    fail "$target: an input makes it fail; hint: it lies in fuzz/artifacts/$target/, see the trace above"
  fi
  sed -n 's/^stat::number_of_executed_units: */  inputs tried: /p' "$log" >&2
  rmdir "$kept" 2>/dev/null || true
done
