# shellcheck shell=bash
# What every script needs: messages, the cache folder, checks of tools. Sourced, never run.

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "error: $*"
  exit 1
}

need() { # TOOL...
  local tool
  for tool in "$@"; do
    command -v "$tool" >/dev/null || fail "$tool is missing; hint: scripts/setup.sh installs it"
  done
}

# A toolchain of rustup, and the folders of tools (depmod, veritysetup) that a user's PATH leaves out.
export PATH="$PATH:$HOME/.cargo/bin:/usr/local/sbin:/usr/sbin:/sbin"

# Where i2kit keeps what it can make again.
# shellcheck disable=SC2034 # for who sources this
cache="${XDG_CACHE_HOME:-$HOME/.cache}/i2kit"

mib() { # BYTES
  awk -v bytes="$1" 'BEGIN { printf "%.1f MiB", bytes / 1048576 }'
}

# Builds i2kit from the sources in a folder as one static program that runs on any x86_64 Linux, and
# says where it lies. No folder's name stands in it, so that it is the same wherever it is built.
# With --target, the flags do not reach build scripts and macros, which cannot be static.
build_program() { # SOURCE TARGET
  local triple=x86_64-unknown-linux-gnu
  (cd "$1" && CARGO_TARGET_DIR="$2" RUSTFLAGS="-C target-feature=+crt-static \
--remap-path-prefix=$1=/i2kit --remap-path-prefix=$2=/target \
--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" \
    cargo build --release --locked --quiet --package i2kit --bin i2kit --target "$triple" >&2)
  printf '%s\n' "$2/$triple/release/i2kit"
}
