#!/usr/bin/env bash
# Builds the base image from Debian packages. See --help.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<EOF
Usage: scripts/build-base.sh [--locked | --update] [--target LIST] [-o DIR]

Downloads the Debian 12 packages that scripts/base.lock pins and writes the base image, an OCI
layout, to DIR (default: \$XDG_CACHE_HOME/i2kit/base). Needs no root; the host's apt
configuration is read for its mirrors and left alone.

  --locked       fail when the mirror has dropped a pinned version (default: warn, take the
                 current one, record the drift in boot/record.json)
  --update       take the current versions and renew scripts/base.lock
  --target LIST  which drivers to carry, comma-separated: virtio, ec2 (default: both)
  -o DIR         where the layout goes

What the image holds:
  boot/vmlinuz            kernel (bzImage)
  boot/stub.efi           systemd's EFI stub
  boot/kernel.release     its release
  boot/config             its configuration
  boot/modules.json       {"TARGET": ["kernel/....ko", ...]}: modules in load order
  boot/modules/           those modules, uncompressed
  boot/record.json        packages with versions and SHA-256; compression that EROFS knows; drift
  system/                 the guest's root: containerd, runc, mkfs.ext4, their libraries, CAs
EOF
}

mode='' targets=virtio,ec2 out='' lock="${I2KIT_BASE_LOCK:-$here/base.lock}"
while [ $# -gt 0 ]; do
  case "$1" in
    --locked) mode=locked ;;
    --update) mode=update ;;
    --target) targets="${2:?--target needs a list}"; shift ;;
    -o) out="${2:?-o needs a folder}"; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
# shellcheck source=scripts/lib/debian.sh
. "$here/lib/debian.sh"
out="${out:-$cache/base}"
need apt-get dpkg-deb xz depmod modinfo readelf

# Modules of every target: the store's devices and file systems, and the power button.
common='dm-mod dm-verity sha256_generic sha256_ssse3 erofs overlay ext4 button evdev'
modules_virtio='virtio_pci virtio_blk virtio_net virtio_scsi sd_mod virtio_console virtio_rng vmw_vsock_virtio_transport nvme'
modules_ec2='ena nvme'

work=$(mktemp -d "$cache/.base-XXXXXX")
trap 'rm -rf "$work"' EXIT
resolve_lock "$lock" "$work/drift" "$mode" >"$work/packages"
if [ "$mode" = update ]; then
  { grep '^#' "$lock"; cat "$work/packages"; } >"$work/lock"
  cp "$work/lock" "$lock"
  : >"$work/drift"
fi
key=$(cat "$work/packages" "$work/drift" "$0" "$here/lib/debian.sh" - <<<"$targets" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$out/i2kit-key" 2>/dev/null)" = "$key" ]; then
  say "base image is up to date: $out"
  exit 0
fi

while read -r name version sha256; do
  download "$name" "$version" "$sha256"
  mkdir -p "$work/unpacked/$name"
  unpack "$sha256" "$work/unpacked/$name"
done <"$work/packages"
unpacked="$work/unpacked"
kernel=$(basename "$(echo "$unpacked"/linux-image-*)")
release=${kernel#linux-image-}
boot="$work/boot-layer/boot" system="$work/system-layer/system"
install -d -m 755 "$boot/modules" "$system"

build_boot() {
  install -m 644 "$unpacked/$kernel/boot/vmlinuz-$release" "$boot/vmlinuz"
  install -m 644 "$unpacked/$kernel/boot/config-$release" "$boot/config"
  install -m 644 "$unpacked/systemd-boot-efi/usr/lib/systemd/boot/efi/linuxx64.efi.stub" "$boot/stub.efi"
  printf '%s\n' "$release" >"$boot/kernel.release"
  local tree="$unpacked/$kernel" modules="$unpacked/$kernel/lib/modules/$release" target first=1
  [ -d "$modules" ] || modules="$unpacked/$kernel/usr/lib/modules/$release"
  if [ "$modules" != "$tree/lib/modules/$release" ]; then tree="$tree/usr"; fi
  depmod -b "$tree" "$release"
  {
    printf '{'
    for target in ${targets//,/ }; do
      local wanted="modules_$target"
      [ -n "${!wanted:-}" ] || fail "no such target: $target"
      [ "$first" = 1 ] || printf ','
      first=0
      printf '\n  "%s": [' "$target"
      # shellcheck disable=SC2086 # lists of names
      in_load_order "$modules" $common ${!wanted} | awk '{printf "%s\n    \"%s\"", (NR > 1 ? "," : ""), $0}'
      printf '\n  ]'
    done
    printf '\n}\n'
  } >"$boot/modules.json"
  grep -o 'kernel/[^"]*' "$boot/modules.json" | sort -u | while read -r module; do
    install -d -m 755 "$boot/modules/$(dirname "$module")"
    xz -dc "$modules/$module.xz" >"$boot/modules/$module"
  done
  write_record >"$boot/record.json"
}

# The files of the named modules with all they need, dependencies first; what is built in is left
# out, a name that is neither is an error.
in_load_order() { # FOLDER NAME...
  local folder="$1" name path
  shift
  for name in "$@"; do
    path=$(sed -n "s#^\(kernel/[^:]*/${name//[-_]/[-_]}\.ko\.xz\):.*#\1#p" "$folder/modules.dep")
    if [ -z "$path" ]; then
      grep -q "/${name//[-_]/[-_]}\.ko$" "$folder/modules.builtin" || fail "kernel $release has no module $name"
      continue
    fi
    for dependency in $(modinfo -b "${folder%/lib/modules/*}" -k "$release" -F softdep "$name" | grep -o 'pre:.*' | sed 's/pre://; s/post:.*//'); do
      if grep -q "/${dependency//[-_]/[-_]}\.ko\.xz:" "$folder/modules.dep"; then
        in_load_order "$folder" "$dependency"
      fi
    done
    sed -n "s#^$path: *##p" "$folder/modules.dep" | tr ' ' '\n' | grep . | tac || true
    printf '%s\n' "$path"
  done | sed 's/\.xz$//' | awk '!seen[$0]++'
}

write_record() {
  printf '{\n  "kernel": "%s",\n  "consoles": ["tty0", "ttyS0"],\n  "erofs": [' "$release"
  grep -o '^CONFIG_EROFS_FS_ZIP[A-Z0-9_]*=y' "$boot/config" | sed 's/CONFIG_EROFS_FS_//; s/=y//; s/^ZIP$/LZ4/; s/^ZIP_//' |
    tr '[:upper:]' '[:lower:]' | awk '{printf "%s\"%s\"", (NR > 1 ? ", " : ""), $0}'
  printf '],\n  "packages": [\n'
  awk '{printf "%s    {\"name\": \"%s\", \"version\": \"%s\", \"sha256\": \"%s\"}", (NR > 1 ? ",\n" : ""), $1, $2, $3}' "$work/packages"
  printf '\n  ],\n  "drift": ['
  awk '{printf "%s\"%s\"", (NR > 1 ? ", " : ""), $0}' "$work/drift"
  printf ']\n}\n'
}

# Copies a file of a package and, for a program or library, what it is linked with.
take() { # PATH-IN-PACKAGE
  local path="$1" source library
  local target="$system/usr/${path#usr/}"
  [ ! -e "$target" ] || return 0
  source=$(find_file "$path")
  install -D -m "$(stat -c %a "$source")" "$source" "$target"
  while read -r library; do
    take "$(library_path "$library")"
  done < <(readelf -d "$source" 2>/dev/null | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
}

# A path under usr/ in whichever package has it, there or in / (packages differ in that).
find_file() {
  local path="$1" found
  for found in "$unpacked"/*/"$path" "$unpacked"/*/"${path#usr/}"; do
    if [ -e "$found" ]; then
      printf '%s\n' "$found"
      return
    fi
  done
  fail "no pinned package has $path; hint: add its package to $lock"
}

library_path() {
  case "$1" in
    ld-linux-x86-64.so.2) printf 'usr/lib64/%s\n' "$1" ;;
    *) printf 'usr/lib/x86_64-linux-gnu/%s\n' "$1" ;;
  esac
}

build_system() {
  local folder
  for folder in bin sbin lib lib64; do
    install -d -m 755 "$system/usr/$folder"
    ln -s "usr/$folder" "$system/$folder"
  done
  for folder in proc sys dev run tmp var mnt root etc/ssl/certs; do
    install -d -m 755 "$system/$folder"
  done
  take usr/bin/containerd
  take usr/bin/containerd-shim-runc-v2
  take usr/sbin/runc
  take usr/sbin/mke2fs
  ln -s mke2fs "$system/usr/sbin/mkfs.ext4"
  install -m 644 "$unpacked/e2fsprogs/etc/mke2fs.conf" "$system/etc/mke2fs.conf"
  find "$unpacked/ca-certificates/usr/share/ca-certificates" -name '*.crt' | sort |
    xargs cat >"$system/etc/ssl/certs/ca-certificates.crt"
  printf 'root:x:0:0:root:/root:/usr/sbin/nologin\n' >"$system/etc/passwd"
  printf 'root:x:0:\n' >"$system/etc/group"
  ln -s /run/i2kit/resolv.conf "$system/etc/resolv.conf"
  printf '127.0.0.1 localhost\n::1 localhost\n' >"$system/etc/hosts"
}

build_boot
build_system
mkdir -p "$work/layout/blobs/sha256"
layers="$(layer "$work/boot-layer" "$work/layout")
$(layer "$work/system-layer" "$work/layout")"
layout "$work/layout" base '{}' "$layers"
cp "$boot/record.json" "$work/layout/record.json"
printf '%s\n' "$key" >"$work/layout/i2kit-key"
say "base image: kernel $release, $(du -sh "$work/boot-layer" | cut -f1) boot, $(du -sh "$work/system-layer" | cut -f1) system -> $out"
replace "$work/layout" "$out"
