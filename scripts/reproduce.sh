#!/usr/bin/env bash
# Builds the same disk in many ways and compares the bytes. See --help.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<HELP
Usage: scripts/reproduce.sh [--i2kit PROGRAM] [--binary] [--keep DIR]

Builds the sample disk (nginx, with provenance) again and again, each time with something else
changed that must not matter, and compares disk, outputs record, bills of materials and provenance,
byte for byte:

  plain      one thread, an empty cache
  warm       the same cache again, all threads
  elsewhere  another folder, an empty cache, another time zone, locale and umask
  later      a clock that is 20 years ahead
  user       another user (as root only)
  registry   the image pulled from a registry
  bundle     everything from one bundle, without a network
  record     from the record alone

Where a disk differs, the first difference is told by partition, file and byte (i2kit diff); the exit
code is 1.

  --i2kit PROGRAM  the program to try (default: i2kit in PATH, else one built now in release mode)
  --binary         instead, build i2kit itself twice in two folders and compare: two release builds,
                   too slow for the tests
  --keep DIR       leave what was built there

scripts/install.sh and --binary build the program itself with
  RUSTFLAGS='-C target-feature=+crt-static --remap-path-prefix=SOURCE=/i2kit
  --remap-path-prefix=TARGET=/target --remap-path-prefix=CARGO_HOME=/cargo'
so that no folder of the machine stands in it; build.rs hands the prefixes on to the guest's program.
The compiler must be the same: its version decides the bytes, too.
HELP
}

program='' binary=0 keep=''
while [ $# -gt 0 ]; do
  case "$1" in
    --i2kit) program="${2:?--i2kit needs a program}"; shift ;;
    --binary) binary=1 ;;
    --keep) keep="${2:?--keep needs a folder}"; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
# shellcheck source=scripts/lib/common.sh
. "$here/lib/common.sh"
root=$(cd "$here/.." && pwd -P)

# Other users look into it, too.
work=$(mktemp -d)
chmod 755 "$work"
registry=''
cleanup() {
  [ -z "$registry" ] || kill "$registry" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

# Builds the program from a copy of the sources in a folder of that name.
build_copy() { # NAME
  local source="$work/$1/source" target="$work/$1/target"
  mkdir -p "$source"
  (cd "$root" && git ls-files -z | tar --null -T - -cf -) | tar -C "$source" -xf -
  say "building i2kit in $source"
  install -D "$(unset I2KIT_INIT && CARGO_INCREMENTAL=0 build_program "$source" "$target")" "$work/$1/i2kit"
  rm -rf "$target"
}

if [ "$binary" = 1 ]; then
  build_copy one
  build_copy another/folder
  cmp "$work/one/i2kit" "$work/another/folder/i2kit" || {
    [ -z "$keep" ] || install -D -t "$keep/one" "$work/one/i2kit"
    [ -z "$keep" ] || install -D -t "$keep/another" "$work/another/folder/i2kit"
    fail 'the program is not the same in two folders'
  }
  say "the same program in two folders: $(sha256sum <"$work/one/i2kit" | cut -d' ' -f1)"
  exit 0
fi

need faketime docker-registry skopeo jq
"$here/build-base.sh"
"$here/build-sample.sh"
[ -n "$program" ] || program=$(command -v i2kit) || {
  (cd "$root" && cargo build --release --locked --quiet)
  program=$(cd "$root" && cargo metadata --no-deps --format-version 1 | jq -r .target_directory)/release/i2kit
}
cp "$program" "$work/i2kit"
mkdir "$work/images"
cp -rL "$cache/base" "$work/images/base"
cp -rL "$cache/samples/nginx" "$work/images/nginx"
cp "$root/fixtures/manifests/nginx.yaml" "$work/nginx.yaml"
chmod -R a+rX "$work"
base="oci:$work/images/base" nginx="oci:$work/images/nginx"
common=(build --provenance --base "$base" --scratch 64MiB)

# Has i2kit write disk.raw in a folder of that name; what stands before -- runs it.
attempt() { # NAME [WRAPPER...] -- COMMAND FLAG...
  local name="$1" wrapper=()
  shift
  while [ "$1" != -- ]; do wrapper+=("$1"); shift; done
  shift
  mkdir -p "$work/$name"
  local start=$SECONDS
  (cd "$work/$name" && "${wrapper[@]}" "$work/i2kit" "$@" -q -o disk.raw >/dev/null) ||
    fail "$name: the build failed"
  compare "$name"
  say "$name: $(sha256sum <"$work/$name/disk.raw" | cut -d' ' -f1), $((SECONDS - start)) s"
  [ "$name" = plain ] || rm -rf "${work:?}/$name"
}

# The disk of that name must be the first one's.
compare() { # NAME
  local file one="$work/plain" other="$work/$1"
  for file in spdx cyclonedx; do
    "$work/i2kit" sbom --format "$file" "$other/disk.raw" >"$other/$file.json"
  done
  [ "$1" != plain ] || return 0
  cmp -s "$one/disk.raw" "$other/disk.raw" || {
    "$work/i2kit" diff "$one/disk.raw" "$other/disk.raw" || true
    fail "$1: another disk than the plain one"
  }
  for file in disk.raw.i2kit.json disk.raw.provenance.json spdx.json cyclonedx.json; do
    # Who builds again makes no statement of provenance.
    [ "$1" != record ] || [ "$file" != disk.raw.provenance.json ] || continue
    cmp "$one/$file" "$other/$file" || fail "$1: another $file than the plain build's"
  done
}

from_layout=(-f "$work/nginx.yaml" --image "nginx=$nginx")
attempt plain env RAYON_NUM_THREADS=1 LC_ALL=C TZ=UTC -- "${common[@]}" "${from_layout[@]}" --cache-dir "$work/cache" -j 1
attempt warm -- "${common[@]}" "${from_layout[@]}" --cache-dir "$work/cache"
# shellcheck disable=SC2016 # the inner shell expands them
attempt elsewhere/deep/down env LC_ALL=tr_TR.UTF-8 TZ=Asia/Kathmandu HOME="$work/home" \
  sh -c 'umask 077; exec "$0" "$@"' -- "${common[@]}" "${from_layout[@]}" --cache-dir cache -j 4
attempt later faketime -f '+20y' -- "${common[@]}" "${from_layout[@]}" --cache-dir cache

if [ "$(id -u)" = 0 ]; then
  mkdir "$work/user"
  chown 65534:65534 "$work/user"
  attempt user setpriv --reuid 65534 --regid 65534 --clear-groups \
    env -u XDG_CACHE_HOME -u XDG_CONFIG_HOME -u XDG_RUNTIME_DIR HOME="$work/user" -- \
    "${common[@]}" "${from_layout[@]}" --cache-dir cache
else
  say 'user: left out, since it needs root'
fi

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$work/registry.yml" <<CONFIG
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $work/registry-data}}
http: {addr: "127.0.0.1:$port"}
CONFIG
docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
registry=$!
for _ in $(seq 100); do
  (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
  kill -0 "$registry" 2>/dev/null || fail "the registry ended: $(tail -n 3 "$work/registry.log")"
  sleep 0.1
done
place="127.0.0.1:$port/nginx:latest"
skopeo copy --quiet --preserve-digests --dest-tls-verify=false "$nginx" "docker://$place"
attempt registry -- "${common[@]}" -f "$work/nginx.yaml" --image "nginx=docker://$place" \
  --plain-http "127.0.0.1:$port" --cache-dir cache

"$work/i2kit" bundle -q -f "$work/nginx.yaml" --base "$base" --image "nginx=$nginx" \
  --cache-dir "$work/cache" -o "$work/nginx.bundle.tar"
attempt bundle -- build --provenance --scratch 64MiB --offline --bundle "$work/nginx.bundle.tar" --cache-dir cache

attempt record -- rebuild --record "$work/plain/disk.raw.i2kit.json" --base "$base" --image "nginx=$nginx" --cache-dir cache

if [ -n "$keep" ]; then
  mkdir -p "$keep"
  cp "$work"/plain/* "$keep/"
fi
say 'every disk, record, bill of materials and statement is the same'
