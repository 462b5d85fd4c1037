#!/usr/bin/env bash
# Builds i2kit and installs it with its manual pages and completions. See --help.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<HELP
Usage: scripts/install.sh [--prefix DIR] [--destdir DIR]

Builds i2kit as one static program and installs it: bin/i2kit, manual pages, completions for bash,
zsh and fish.

  --prefix DIR   where it will live (default: /usr/local)
  --destdir DIR  put in front of the prefix, for packaging
HELP
}

prefix=/usr/local destdir=''
while [ $# -gt 0 ]; do
  case "$1" in
    --prefix) prefix="${2:?--prefix needs a folder}"; shift ;;
    --destdir) destdir="${2:?--destdir needs a folder}"; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
# shellcheck source=scripts/lib/common.sh
. "$here/lib/common.sh"
cd "$here/.."
root="$destdir$prefix"

say 'building i2kit'
target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
program=$(build_program "$PWD" "$target")

pages=$(mktemp -d)
trap 'rm -rf "$pages"' EXIT
"$program" man --output "$pages"
install -Dm755 -s "$program" "$root/bin/i2kit"
install -Dm644 -t "$root/share/man/man1" "$pages"/*.1
completions() { # SHELL FILE
  "$program" completions "$1" >"$pages/completions"
  install -Dm644 "$pages/completions" "$root/share/$2"
}
completions bash bash-completion/completions/i2kit
completions zsh zsh/vendor-completions/_i2kit
completions fish fish/vendor_completions.d/i2kit.fish
say "installed $root/bin/i2kit ($(mib "$(stat -c %s "$root/bin/i2kit")"))"
