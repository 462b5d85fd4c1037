# Sourced by the benchmarks: what they measure, times of commands that take turns, and verdicts over
# them. Wants $here, the folder of the scripts; sets $i2kit, the samples, and $work, a folder that goes
# away at the end.
# shellcheck shell=bash disable=SC2034,SC2154

# shellcheck source=scripts/lib/common.sh
. "$here/lib/common.sh"
cd "$here/.." || exit

"$here/setup.sh" --bench
need jq umoci
cargo build --release --locked --quiet
"$here/build-base.sh"
"$here/build-sample.sh"
target=$(cargo metadata --no-deps --format-version 1 | jq -r .target_directory)
i2kit="$target/release/i2kit"
manifest=fixtures/manifests/nginx.yaml
nginx="$cache/samples/nginx" tiny="$cache/samples/tiny" base="$cache/base"

# Beside the cache, so that every command reads and writes the same file system.
work=$(mktemp -d "$cache/bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/times"
missed=0

# TIMES-FILE COMMAND...: appends the seconds that the command took.
timed() {
  local into="$1" start end
  shift
  start=$(date +%s%N)
  "$@"
  end=$(date +%s%N)
  awk -v ns=$((end - start)) 'BEGIN { printf "%.4f\n", ns / 1e9 }' >>"$work/times/$into"
}

median() { sort -n "$work/times/$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# The median over the rounds of A/B, so that a drift of the machine's speed cancels out.
ratio() { # A B
  paste "$work/times/$1" "$work/times/$2" | awk '{ print $1 / $2 }' | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

verdict= # set by judge
judge() { # FOUND BOUND UNIT
  if awk -v found="$1" -v bound="$2" 'BEGIN { exit !(found <= bound) }'; then
    verdict="at most $2$3: holds"
  else
    missed=1
    verdict="at most $2$3: MISSED"
  fi
}

measured() { # WHAT FOUND UNIT BOUND
  judge "$2" "$4" " $3"
  printf '%-34s %8.3f %-3s  %s\n' "$1" "$2" "$3" "$verdict"
}

mebibytes() { awk -v bytes="$1" 'BEGIN { print bytes / 1048576 }'; }

against() { # WHAT A B BOUND
  local found
  found=$(ratio "$2" "$3")
  judge "$found" "$4" x
  printf '%-34s %8.3f s  %8.3f s  %6.2fx  %s\n' "$1" "$(median "$2")" "$(median "$3")" "$found" "$verdict"
}

# An image's tag in a layout.
tag() { jq -r '.manifests[0].annotations["org.opencontainers.image.ref.name"] // "latest"' "$1/index.json"; }
