#!/usr/bin/env bash
# Measures i2kit against the physical limit and against the tools one would chain instead. See --help.
# `timed` calls the commands that are compared.
# shellcheck disable=SC2317
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<HELP
Usage: scripts/bench.sh [--runs N] [--boot] [--registry]

Builds the sample nginx Pod and prints, as medians of N rounds (default 5) whose commands take turns:

  cold       an empty cache to a disk on stable storage, beside
             limit: igzip -dc of the same layers, SHA-256 of the result, dd conv=fsync, one after another
             chain: umoci unpack of the same images, mkfs.erofs of the result, sync
  warm       a new target from a full cache, beside cp + sync of that disk
  unchanged  the target is the one already written
  sizes      the disk of a tiny static container, by partition, and i2kit-init
  memory     the most that a cold build held at once

Each line ends with the ratio and the bound it must hold; a bound that does not hold makes the exit code 1.

  --runs N    rounds
  --boot      also boots the tiny disk N times and prints the guest's boot stages
  --registry  also measures images from Debian's registry on this machine:
              pull    an empty cache, without compression (see bench-store.sh), beside skopeo copy
                      of the image to an OCI layout
              shared  a build's layers from a shared cache, beside pulling and converting them
              locked  requests of a locked build with a full cache
              layers  an image of 20 layers of 100 MB: how busy the cores are, and memory
HELP
}

runs=5 boot=0 registry=0
while [ $# -gt 0 ]; do
  case "$1" in
    --runs) runs="${2:?--runs needs a number}"; shift ;;
    --boot) boot=1 ;;
    --registry) registry=1 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
# shellcheck source=scripts/lib/bench.sh
. "$here/lib/bench.sh"
need igzip mkfs.erofs
[ -x /usr/bin/time ] || fail 'GNU time is missing; hint: scripts/setup.sh --bench installs it'

layers() { # LAYOUT: paths of the layers' blobs
  jq -r '.manifests[0].digest' "$1/index.json" | tr : / | while read -r manifest; do
    jq -r '.layers[].digest' "$1/blobs/$manifest" | tr : / | sed "s#^#$1/blobs/#"
  done
}

mapfile -t blobs < <(layers "$nginx"; layers "$base")

cold() {
  "$i2kit" build -q -f "$manifest" --image "nginx=oci:$nginx" --cache-dir "$work/cache" -o "$work/cold.raw"
}

# What no tool can leave out, one thing after the other.
limit() {
  for blob in "${blobs[@]}"; do igzip -dc "$blob"; done >"$work/plain"
  sha256sum "$work/plain" >/dev/null
  dd if="$work/plain" of="$work/written" bs=1M conv=fsync status=none
}

chain() {
  local layout
  for layout in "$nginx" "$base"; do
    umoci unpack --image "$layout:$(tag "$layout")" "$work/chain/$(basename "$layout")" >/dev/null 2>&1
  done
  mkfs.erofs -x1 "$work/chain.erofs" "$work/chain" >/dev/null 2>&1
  sync -f "$work/chain.erofs"
}

warm() {
  "$i2kit" build -q -f "$manifest" --image "nginx=oci:$nginx" --cache-dir "$work/cache" -o "$work/warm.raw"
}

copy() {
  cp --sparse=always "$work/cold.raw" "$work/copy.raw"
  sync "$work/copy.raw"
}

for round in $(seq "$runs"); do
  say "round $round of $runs"
  rm -rf "$work/cache" "$work/cold.raw"*; sync -f "$work"
  timed cold cold
  rm -f "$work/plain" "$work/written"; sync -f "$work"
  timed limit limit
  rm -rf "$work/chain" "$work/chain.erofs"; mkdir "$work/chain"; sync -f "$work"
  timed chain chain
  rm -rf "$work/chain" "$work/warm.raw"*; sync -f "$work"
  timed warm warm
  rm -f "$work/copy.raw"; sync -f "$work"
  timed copy copy
  timed unchanged cold
done

printf '%-34s %10s  %10s  %7s\n' "$(basename "$manifest"), $(nproc) cores" i2kit other ratio
against 'cold, limit' cold limit 1.3
against 'cold, umoci + mkfs.erofs + sync' cold chain 0.2
against 'warm, cp + sync' warm copy 1.2
measured 'nothing changed' "$(median unchanged)" s 0.15

rm -rf "$work/cache" "$work/cold.raw"*
/usr/bin/time -f %M -o "$work/memory" "$i2kit" build -q -f "$manifest" --image "nginx=oci:$nginx" \
  --cache-dir "$work/cache" -o "$work/cold.raw"
measured 'most memory, cold' "$(mebibytes $((1024 * $(cat "$work/memory"))))" MiB 200

"$i2kit" build -q --from "oci:$tiny" --cache-dir "$work/cache" -o "$work/tiny.raw"
measured 'disk of a tiny container' "$(mebibytes "$(stat -c %s "$work/tiny.raw")")" MiB 48
"$i2kit" inspect "$work/tiny.raw"
init=$(find "$target/i2kit-init" -path '*/init/i2kit-init' -type f -printf '%s\n' | sort -n | tail -n 1)
measured 'i2kit-init' "$(mebibytes "${init:?i2kit-init was not built}")" MiB 4

# Debian's registry on a free port, in the work folder; its log tells requests.
start_registry() {
  need docker-registry skopeo openssl
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  cat >"$work/registry.yml" <<YAML
version: 0.1
log: {accesslog: {disabled: false}, level: error}
storage: {filesystem: {rootdirectory: $work/registry}, delete: {enabled: true}}
http: {addr: "127.0.0.1:$port"}
YAML
  docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
  server=$!
  trap 'kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
  local tries=0
  until curl -fsS "http://127.0.0.1:$port/v2/" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || fail "the registry does not answer: $(tail -n 3 "$work/registry.log")"
    sleep 0.1
  done
  skopeo copy -q --dest-tls-verify=false "oci:$nginx:$(tag "$nginx")" "docker://127.0.0.1:$port/nginx:latest"
}

pull() { "$i2kit" pull -q --cache-dir "$work/pulled" "127.0.0.1:$port/nginx"; }
pull_plain() { "$i2kit" pull -q --compression none --cache-dir "$work/plain" "127.0.0.1:$port/nginx"; }
skopeo_copy() { skopeo copy -q --src-tls-verify=false "docker://127.0.0.1:$port/nginx:latest" "oci:$work/skopeo:latest"; }
shared() {
  "$i2kit" pull -q --cache-dir "$work/shared" --cache-from "127.0.0.1:$port/cache" --cache-key "$work/cache.key" \
    "127.0.0.1:$port/nginx"
}

bench_registry() {
  start_registry
  openssl genpkey -quiet -algorithm ed25519 -out "$work/cache.key" 2>/dev/null ||
    openssl genpkey -algorithm ed25519 -out "$work/cache.key" 2>/dev/null
  "$i2kit" pull -q --cache-dir "$work/pulled" --cache-to "127.0.0.1:$port/cache" --cache-key "$work/cache.key" \
    "127.0.0.1:$port/nginx"
  for round in $(seq "$runs"); do
    say "registry, round $round of $runs"
    rm -rf "$work/plain" "$work/pulled" "$work/skopeo" "$work/shared"; sync -f "$work"
    timed plain pull_plain
    sync -f "$work"
    timed pull pull
    sync -f "$work"
    timed skopeo skopeo_copy
    sync -f "$work"
    timed shared shared
    sync -f "$work"
  done
  printf '%-34s %10s  %10s  %7s\n' "nginx from a registry" i2kit other ratio
  against 'pull + convert, skopeo copy' plain skopeo 1.5
  against 'shared cache, pull + convert' shared pull 0.6
  (cd "$work" && sed "s#image: nginx#image: 127.0.0.1:$port/nginx#" "$OLDPWD/$manifest" >locked.yaml &&
    "$i2kit" lock -q -f locked.yaml --cache-dir "$work/pulled" &&
    "$i2kit" build -q --locked -f locked.yaml --cache-dir "$work/pulled" -o locked.raw)
  local before
  before=$(grep -c 'HTTP/1.1' "$work/registry.log" || true)
  (cd "$work" && "$i2kit" build -q --locked -f locked.yaml --cache-dir "$work/pulled" -o again.raw)
  measured 'requests of a locked build' $(($(grep -c 'HTTP/1.1' "$work/registry.log" || true) - before)) '' 0
  [ "$before" -gt 0 ] || fail 'the registry logs no requests: nothing was measured'
}

# An image of 20 layers of 100 MB: files of the sample's root, in another order and folder in each.
many_layers() {
  umoci unpack --image "$nginx:$(tag "$nginx")" "$work/root" >/dev/null 2>&1
  find "$work/root/rootfs" -type f -size +0 -size -16M -printf '%P\n' | sort >"$work/files"
  umoci init --layout "$work/many"
  umoci new --image "$work/many:latest"
  local layer
  for layer in $(seq 20); do
    python3 - "$work/root/rootfs" "$work/files" "$layer" <<'PYTHON' >"$work/layer"
import os, sys, tarfile
root, names, layer = sys.argv[1], open(sys.argv[2]).read().splitlines(), int(sys.argv[3])
left, at = 100_000_000, layer * len(names) // 20
with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT) as out:
    while left > 0:
        name = names[at % len(names)]
        item = tarfile.TarInfo(f"layer{layer}/{at}/{os.path.basename(name)}")
        item.size = min(left, os.path.getsize(f"{root}/{name}"))
        with open(f"{root}/{name}", "rb") as data:
            out.addfile(item, data)
        left, at = left - item.size, at + 1
PYTHON
    umoci raw add-layer --image "$work/many:latest" "$work/layer" >/dev/null 2>&1
  done
  rm -rf "$work/root" "$work/layer"
  skopeo copy -q --dest-tls-verify=false "oci:$work/many:latest" "docker://127.0.0.1:$port/many:latest"
}

# Hundredths of a second that all processes together kept the cores busy.
busy() { awk '/^cpu / { print $2 + $3 + $4 + $7 + $8 }' /proc/stat; }

bench_layers() {
  many_layers
  local start before round
  for round in $(seq "$runs"); do
    say "20 layers, round $round of $runs"
    rm -rf "$work/pulled"; sync -f "$work"
    before=$(busy) start=$(date +%s%N)
    /usr/bin/time -f %M -o "$work/memory" "$i2kit" pull -q --cache-dir "$work/pulled" "127.0.0.1:$port/many"
    awk -v ns=$(($(date +%s%N) - start)) -v busy=$(($(busy) - before)) -v cores="$(nproc)" \
      'BEGIN { wall = ns / 1e9; print wall / (busy / 100 / cores) }' >>"$work/times/spread"
    awk '{ print $1 / 1024 }' "$work/memory" >>"$work/times/held"
  done
  measured '20 layers: wall / (CPU / cores)' "$(median spread)" x 1.15
  measured '20 layers: cores idle' "$(awk -v spread="$(median spread)" 'BEGIN { print 100 - 100 / spread }')" % 15
  measured '20 layers: most memory' "$(median held)" MiB 250
}

if [ "$registry" = 1 ]; then bench_registry; bench_layers; fi

if [ "$boot" = 1 ]; then
  for _ in $(seq "$runs"); do
    # busybox without a command ends at once: what counts is how long it takes to get there.
    "$i2kit" run "$work/tiny.raw" 2>&1 | grep -a '^i2kit: started in' || true
  done
fi
exit "$missed"
