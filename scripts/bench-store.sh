#!/usr/bin/env bash
# Measures the store: its size, what compressing costs, and how quickly it is read. See --help.
# `timed` calls the commands that are compared.
# shellcheck disable=SC2317
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<HELP
Usage: scripts/bench-store.sh [--runs N]

Prints, as medians of N rounds (default 3) whose commands take turns:

  store      the nginx layers of a default build, beside mksquashfs -comp zstd and
             mkfs.erofs -zzstd,3 -C131072 -Efragments of the same files: size, and the time of
             fetching nothing and converting everything beside the other's
  best       the same with --compression best
  default    a cold build with default compression, beside one without
  verity     checking every block of the store against its hash tree, beside the time that
             openssl speed takes for SHA-256 of as many blocks of 4 KiB on all cores
  reading    for each compression: seconds to read all of nginx's files through the kernel's mount,
             by folder and in random order, and 2,000 times 4 KiB; each from a cold cache

Each line but those of reading ends with the bound it must hold; one that does not hold makes the exit
code 1. Needs root, for the mounts.

  --runs N  rounds
HELP
}

runs=3
while [ $# -gt 0 ]; do
  case "$1" in
    --runs) runs="${2:?--runs needs a number}"; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
# shellcheck source=scripts/lib/bench.sh
. "$here/lib/bench.sh"
need python3
"$here/build-oracles.sh"
oracles="$cache/oracles/bin"
mkdir "$work/mnt"
trap 'umount "$work/mnt" 2>/dev/null || true; rm -rf "$work"' EXIT

build() { # COMPRESSION DISK
  "$i2kit" build -q -f "$manifest" --image "nginx=oci:$nginx" --cache-dir "$work/cache" \
    --compression "$1" --json -o "$2" >"$work/summary.json"
}

convert() { "$i2kit" pull -q --cache-dir "$work/pulled" "oci:$nginx"; }
best() { "$i2kit" pull -q --compression best --cache-dir "$work/best" "oci:$nginx"; }
squashfs() { "$oracles/mksquashfs" "$work/root/rootfs" "$work/nginx.squashfs" -comp zstd -quiet -no-progress >/dev/null; }
erofs() { "$oracles/mkfs.erofs" --quiet -zzstd,3 -C131072 -Efragments "$work/nginx.erofs" "$work/root/rootfs" >/dev/null; }

umoci unpack --image "$nginx:$(tag "$nginx")" "$work/root" >/dev/null 2>&1
for round in $(seq "$runs"); do
  say "store, round $round of $runs"
  rm -rf "$work/pulled"; sync -f "$work"
  timed convert convert
  rm -rf "$work/best"; sync -f "$work"
  timed best best
  rm -f "$work/nginx.squashfs"; sync -f "$work"
  timed squashfs squashfs
  rm -f "$work/nginx.erofs"; sync -f "$work"
  timed erofs erofs
  for compression in none zstd; do
    rm -rf "$work/cache" "$work/disk.raw"*; sync -f "$work"
    timed "$compression" build "$compression" "$work/disk.raw"
  done
done
# The store's file system, as its superblock has it (`blocks`), but for the base's layer.
nginx_bytes() {
  local offset blocks
  offset=$(jq '.partitions[] | select(.name == "store") | .offset' "$work/summary.json")
  blocks=$(od -An -t u4 -j $((offset + 1024 + 36)) -N 4 "$work/disk.raw")
  echo $((blocks * 4096 - $(jq '.layers[0].size' "$work/summary.json")))
}
store=$(nginx_bytes)
of() { awk -v store="$store" -v other="$(stat -c %s "$1")" 'BEGIN { print store / other }'; }
measured 'nginx in the store' "$(mebibytes "$store")" MiB 1000
measured 'size, mksquashfs -comp zstd' "$(of "$work/nginx.squashfs")" x 1.1
measured 'size, mkfs.erofs zstd,3 fragments' "$(of "$work/nginx.erofs")" x 1.03
rm -rf "$work/disk.raw"*
build best "$work/disk.raw"
store=$(nginx_bytes)
measured 'size of best, mksquashfs -comp zstd' "$(of "$work/nginx.squashfs")" x 1

# All processors hash blocks of 4 KiB for a second; how long they would take for BYTES.
openssl_seconds() { # BYTES
  local speed
  speed=$(openssl speed -mr -multi "$(nproc)" -seconds 1 -bytes 4096 -evp sha256 2>/dev/null |
    awk -F: '$1 == "+F" { print $4 }')
  awk -v bytes="$1" -v speed="${speed:?openssl speed tells no speed}" 'BEGIN { printf "%.4f\n", bytes / speed }'
}
verify() { "$i2kit" inspect --verify "$work/plain.raw" >/dev/null; }
build none "$work/plain.raw"
data=$(jq '.partitions[] | select(.name == "store") | .size' "$work/summary.json")
verify
for round in $(seq "$runs"); do
  timed verity verify
  openssl_seconds "$data" >>"$work/times/openssl"
done
rm -f "$work/plain.raw"*

printf '%-34s %10s  %10s  %7s\n' '' i2kit other ratio
against 'time, mksquashfs -comp zstd' convert squashfs 0.1
against 'time, mkfs.erofs zstd,3 fragments' convert erofs 0.1
against 'time of best, mksquashfs' best squashfs 0.5
against 'cold build, one without' zstd none 1.6
# At least 0.8 of its speed.
against 'verity, openssl speed sha256' verity openssl 1.25

printf '\n%-20s %10s %10s %10s %10s\n' compression 'store MB' 'by folder' random '2000x4K'
for compression in none lz4 zstd,cluster={64K,128K,256K,512K,1M}; do
  rm -rf "$work/cache" "$work/disk.raw"*
  build "$compression" "$work/disk.raw"
  printf '%-20s ' "$compression"
  python3 - "$work" "$runs" <<'PYTHON'
import json, os, random, subprocess, sys, time
work, runs = sys.argv[1], int(sys.argv[2])
root = f"{work}/mnt"
partitions = json.load(open(f"{work}/summary.json"))["partitions"]
store = next(one for one in partitions if one["name"] == "store")

def mount():
    subprocess.check_call(["mount", "-t", "erofs", "-o", f"ro,loop,offset={store['offset']}", f"{work}/disk.raw", root])

def cold():
    subprocess.check_call(["umount", root])
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")
    mount()

def read_all(paths):
    for path, _ in paths:
        with open(path, "rb") as file:
            while file.read(1 << 20):
                pass

def read_some(paths):
    chance = random.Random(7)
    paths = [one for one in paths if one[1] >= 4096]
    for _ in range(2000):
        path, size = chance.choice(paths)
        file = os.open(path, os.O_RDONLY)
        os.pread(file, 4096, chance.randrange(size - 4095))
        os.close(file)

def median(read, paths):
    times = []
    for _ in range(runs):
        cold()
        start = time.monotonic()
        read(paths)
        times.append(time.monotonic() - start)
    return sorted(times)[len(times) // 2]

mount()
names = [os.path.join(folder, name) for folder, _, names in os.walk(f"{root}/containers") for name in sorted(names)]
files = [(name, os.path.getsize(name)) for name in names if os.path.isfile(name) and not os.path.islink(name)]
shuffled = random.Random(5).sample(files, len(files))
found = [median(read_all, files), median(read_all, shuffled), median(read_some, files)]
subprocess.check_call(["umount", root])
print(f"{store['size'] / 1e6:10.1f}", *(f"{seconds:10.2f}" for seconds in found))
PYTHON
done
exit "$missed"
