#!/usr/bin/env bash
# Measures boots: against a machine put together by hand, in little memory, with another runtime. See --help.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<HELP
Usage: scripts/bench-boot.sh [--runs N]

Boots machines under QEMU and prints, as medians of N rounds (default 5) whose boots take turns:

  boot    from PID 1's first instruction to all containers started, beside the naive way: the same
          kernel and containerd; a shell script loads the modules, mounts a plain EROFS, starts
          containerd, waits for its socket and calls ctr run --rootfs. It checks nothing (no
          dm-verity), and has no network and no scratch disk
  crun    the stage that starts the container, with Debian's crun in runc's place, beside runc
  memory  what a Pod with nginx that has answered 100 requests holds beyond the kernel and the page
          cache, and that it does so in a machine of 128 MiB (without firmware)

Each line ends with the bound it must hold; one that does not hold makes the exit code 1.
HELP
}

runs=5
while [ $# -gt 0 ]; do
  case "$1" in
    --runs) runs="${2:?--runs needs a number}"; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
# shellcheck source=scripts/lib/debian.sh
. "$here/lib/debian.sh"
# shellcheck source=scripts/lib/bench.sh
. "$here/lib/bench.sh"
need qemu-system-x86_64 mkfs.erofs cpio dpkg-deb curl
accel=tcg,thread=single cpu=max,la57=off

umoci unpack --image "$base:$(tag "$base")" "$work/base" >/dev/null 2>&1
umoci unpack --image "$tiny:$(tag "$tiny")" "$work/tiny" >/dev/null 2>&1
boot="$work/base/rootfs/boot" busybox="$work/tiny/rootfs/bin/busybox"

# The naive machine's root: the base's, ctr, a shell, the container's root.
naive_root() {
  local root="$work/naive" sha256 name
  cp -a "$work/base/rootfs/system" "$root"
  sha256=$(awk '$1 == "containerd" { print $3 }' "$here/base.lock")
  dpkg-deb --fsys-tarfile "$debs/$sha256.deb" | tar -x -C "$root" ./usr/bin/ctr
  cp "$busybox" "$root/usr/bin/busybox"
  for name in sh mount test sleep sed cat poweroff; do ln -s busybox "$root/usr/bin/$name"; done
  cp -a "$work/tiny/rootfs" "$root/container"
  mkdir -p "$root/container/"{proc,dev,sys,run,tmp,etc}
  cat >"$root/start" <<'SCRIPT'
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t tmpfs var /var
mount -t cgroup2 cgroup2 /sys/fs/cgroup
containerd >/dev/null 2>&1 &
until test -S /run/containerd/containerd.sock; do sleep 0.02; done
read -r now _ </proc/uptime
echo "socket: $now"
ctr run --rm --rootfs /container first /bin/busybox cat /proc/uptime 2>&1 | sed 's/^/first: /'
poweroff -f
SCRIPT
  mkfs.erofs --quiet "$work/naive.erofs" "$root" >/dev/null
}

# Its initramfs: a shell and the modules for the disk.
naive_initramfs() {
  local root="$work/initramfs" module
  mkdir -p "$root"/{bin,proc,sys,dev,new,modules}
  cp "$busybox" "$root/bin/busybox"
  jq -r '(.virtio_pci + .virtio_blk + .erofs + .af_packet)[]' "$boot/modules-by-name.json" | awk '!seen[$0]++' |
    while read -r module; do
      cp "$boot/modules/$module" "$root/modules/"
      basename "$module" >>"$root/modules/list"
    done
  cat >"$root/init" <<'SCRIPT'
#!/bin/busybox sh
busybox mount -t proc proc /proc
read -r now _ </proc/uptime
busybox mount -t devtmpfs dev /dev
exec >/dev/console 2>&1
echo "begins: $now"
while read -r module; do busybox insmod "/modules/$module"; done </modules/list
until test -b /dev/vda; do busybox sleep 0.02; done
busybox mount -t erofs -o ro /dev/vda /new
busybox mount -t sysfs sys /new/sys
busybox mount --move /proc /new/proc
busybox mount --move /dev /new/dev
export PATH=/usr/sbin:/usr/bin
exec /bin/busybox switch_root /new /usr/bin/sh /start
SCRIPT
  chmod 755 "$root/init"
  (cd "$root" && find . | cpio --quiet -o -H newc) | gzip >"$work/naive.initramfs"
}

# What src/run/command.rs gives a machine, without firmware.
naive() {
  timeout 280 qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none -vga none \
    -machine q35,smm=off -accel "$accel" -cpu "$cpu" -m 1024 -smp 2 \
    -object rng-random,id=rng,filename=/dev/urandom -device virtio-rng-pci,rng=rng \
    -drive "if=none,id=disk,format=raw,snapshot=on,file=$work/naive.erofs" -device virtio-blk-pci,drive=disk \
    -kernel "$boot/vmlinuz" -initrd "$work/naive.initramfs" -append 'console=ttyS0 quiet panic=-1' \
    -serial "file:$work/naive.log"
  tr -d '\r' <"$work/naive.log" |
    awk '/^begins: / { begins = $2 } /^first: [0-9]/ { print $2 - begins; found = 1 }
      END { exit !found }' >>"$work/times/naive" || fail "no container ran: $(tail -n 5 "$work/naive.log")"
}

# Seconds of all stages to TIMES-FILE, those of the stage `pod` to TIMES-FILE.pod.
ours() { # DISK TIMES-FILE
  "$i2kit" run "$1" --direct-boot --accel tcg --timeout 280 >"$work/ours.log" 2>&1 || true
  grep -a '^i2kit: started in' "$work/ours.log" |
    awk '{ print $4 / 1000 }' >>"$work/times/$2"
  grep -aq '^i2kit: started in' "$work/ours.log" || fail "no container ran: $(tail -n 5 "$work/ours.log")"
  sed -n 's/^i2kit: started in .*, pod \([0-9]*\) (ms).*/\1/p' "$work/ours.log" |
    awk '{ print $1 / 1000 }' >>"$work/times/$2.pod"
}

# The base with crun where containerd's shim looks for runc.
crun_base() {
  local layer="$work/crun-layer" packages
  packages=(crun libyajl2 libsystemd0 libcap2 libgcrypt20 libgpg-error0 liblz4-1 liblzma5 libzstd1)
  apt_setup
  mkdir -p "$work/crun-debs" "$layer/system" "$work/crun"
  (cd "$work/crun-debs" && apt-get download -qq "${packages[@]}")
  for deb in "$work/crun-debs"/*.deb; do dpkg-deb -x "$deb" "$work/crun"; done
  mkdir -p "$layer/system/usr/sbin" "$layer/system/usr/lib/x86_64-linux-gnu"
  cp "$work/crun/usr/bin/crun" "$layer/system/usr/sbin/runc"
  find "$work/crun" -path '*/x86_64-linux-gnu/*.so.*' \( -type f -o -type l \) \
    -exec cp -a {} "$layer/system/usr/lib/x86_64-linux-gnu/" \;
  tar -C "$layer" --owner 0 --group 0 --numeric-owner -cf "$work/crun.tar" system
  cp -r "$base" "$work/crun-base"
  rm -f "$work/crun-base/i2kit-key"
  umoci raw add-layer --image "$work/crun-base:$(tag "$base")" "$work/crun.tar" >/dev/null 2>&1
}

tiny_disk() { # BASE DISK
  "$i2kit" build -q --base "oci:$1" --from "oci:$tiny" --cache-dir "$work/cache" -o "$2"
}

naive_root
naive_initramfs
crun_base
tiny_disk "$base" "$work/runc.raw"
tiny_disk "$work/crun-base" "$work/crun.raw"
for round in $(seq "$runs"); do
  say "round $round of $runs"
  ours "$work/runc.raw" runc
  ours "$work/crun.raw" crun
  naive
done
printf '%-34s %10s  %10s  %7s\n' "boots, TCG, $(nproc) cores" i2kit other ratio
against 'PID 1 to container, naive way' runc naive 0.6
# Which is quicker decides which one the base has.
against 'start of a container, runc, crun' runc.pod crun.pod 1.1

# What the machine holds with nginx serving; its own numbers, in KiB.
serving() { # MEMORY: /proc/meminfo
  local port vm
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  "$i2kit" run "$work/nginx.raw" --vm bench --direct-boot --accel tcg --memory "$1" -p "$port:80" --timeout 280 >"$work/nginx.log" 2>&1 &
  vm=$!
  for _ in $(seq 280); do
    curl -fsS "http://127.0.0.1:$port/" >/dev/null 2>&1 && break
    kill -0 "$vm" 2>/dev/null || fail "the machine of $1 is gone: $(tail -n 5 "$work/nginx.log")"
    sleep 1
  done
  for _ in $(seq 100); do curl -fsS "http://127.0.0.1:$port/" >/dev/null; done
  # In little memory nginx answers long before containerd says that it has started it.
  for _ in $(seq 100); do
    "$i2kit" exec bench -- cat /proc/meminfo 2>/dev/null && break
    sleep 1
  done
  kill -INT "$vm"
  wait "$vm" || true
}

export XDG_RUNTIME_DIR="$work/runtime"
mkdir -m 700 "$XDG_RUNTIME_DIR"
"$i2kit" build -q -f "$manifest" --image "nginx=oci:$nginx" --control --cache-dir "$work/cache" -o "$work/nginx.raw"
for memory in 1GiB 128MiB; do
  serving "$memory" >"$work/meminfo"
  [ -s "$work/meminfo" ] || fail "no numbers from the machine of $memory"
  # Processes' own memory and files in memory: neither the kernel's nor the page cache's.
  held=$(awk '/^(AnonPages|Shmem):/ { held += $2 } END { print held / 1024 }' "$work/meminfo")
  measured "nginx in $memory: held" "$held" MiB 40
  awk '{ v[$1] = $2 } END { printf "  of %d MiB: %d free, %d page cache, %d slab, %d page tables and stacks\n",
    v["MemTotal:"] / 1024, v["MemFree:"] / 1024, (v["Cached:"] + v["Buffers:"] - v["Shmem:"]) / 1024, v["Slab:"] / 1024,
    (v["PageTables:"] + v["KernelStack:"]) / 1024 }' "$work/meminfo"
done
exit "$missed"
