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
