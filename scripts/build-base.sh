#!/usr/bin/env bash
# Builds the base image from Debian packages. See --help.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<HELP
Usage: scripts/build-base.sh [--locked | --update] [--target LIST] [--module LIST] [-o DIR]

Downloads the Debian 12 packages that scripts/base.lock pins and writes the base image, an OCI
layout, to DIR (default: \$XDG_CACHE_HOME/i2kit/base). Needs no root. The host's apt is read for
its mirrors and left alone; where all packages lie in the cache, nothing is fetched.

  --locked       fail when the mirror has dropped a pinned version (default: warn, take the
                 current one, record the drift in boot/record.json)
  --update       take the current versions and renew scripts/base.lock
  --target LIST  whose drivers to carry, comma-separated: virtio, ec2 (default: both)
  --module LIST  more modules to carry, comma-separated, for i2kit build --module
  -o DIR         where the layout goes; an old one there is replaced when the new one is whole

Environment: I2KIT_APT_SOURCES, a sources.list to use in place of the host's sources;
I2KIT_BASE_LOCK, another lock file.

What the image holds, in two layers:
  boot/vmlinuz            kernel (bzImage)
  boot/stub.efi           systemd's EFI stub
  boot/kernel.release     the kernel's release
  boot/config             the kernel's configuration
  boot/modules.json       {"TARGET": ["kernel/....ko", ...]}: modules in load order
  boot/modules-by-name.json  {"NAME": ["kernel/....ko", ...]}: what to load for each module that
                          the image carries, a target's or not: it and what it needs, in order
  boot/modules/           those modules, uncompressed, as signed by Debian
  boot/record.json        packages with versions, SHA-256 and source packages, their distribution,
                          consoles, compression that the kernel's EROFS reads, drift
  system/                 the guest's root: containerd, runc, mkfs.ext4, their libraries, CAs, and
                          under usr/share/doc every package's copyright file
HELP
}

# Modules of every target: the store's devices and file systems, and the power button.
# A name that is built into the kernel costs nothing. virtio has besides what run-time configuration
# comes through (QEMU's fw_cfg; a config disk, ISO 9660 or VFAT) and the host's clock.
common='dm-mod dm-verity sha256_generic sha256_ssse3 crc32c_generic erofs overlay ext4 af_packet button evdev'
declare -A drivers=(
  [virtio]='virtio_pci virtio_blk virtio_net virtio_scsi sd_mod virtio_console virtio_rng vmw_vsock_virtio_transport nvme
    qemu_fw_cfg isofs vfat nls_cp437 nls_ascii ptp_kvm'
  [ec2]='ena nvme'
)

# Modules that no target loads, for i2kit build --module.
optional='loop nls_utf8 sr_mod ahci xfs btrfs nfsv4 cifs dm_crypt
  tun bridge veth wireguard br_netfilter nf_tables nft_ct nft_nat nft_masq nft_chain_nat xt_conntrack
  xt_MASQUERADE iptable_filter iptable_nat virtio_balloon'

mode='' targets=virtio,ec2 modules='' out='' lock="${I2KIT_BASE_LOCK:-$here/base.lock}"
while [ $# -gt 0 ]; do
  case "$1" in
    --locked) mode=locked ;;
    --update) mode=update ;;
    --target) targets="${2:?--target needs a list}"; shift ;;
    --module) modules="${2:?--module needs a list}"; shift ;;
    -o) out="${2:?-o needs a folder}"; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
# shellcheck source=scripts/lib/debian.sh
. "$here/lib/debian.sh"
out="${out:-$cache/base}"
for target in ${targets//,/ }; do
  [ -n "${drivers[$target]:-}" ] || fail "no such target: $target; hint: virtio and ec2 are"
done
need dpkg-deb xz depmod modinfo readelf flock
take_turn

mkdir -p "$(dirname "$out")"
work=$(mktemp -d "$(dirname "$out")/.base-XXXXXX")
trap 'rm -rf "$work"' EXIT
resolve_lock "$lock" "$work/drift" "$mode" >"$work/packages"
if [ "$mode" = update ]; then
  { grep '^#' "$lock" || true; cat "$work/packages"; } >"$lock.new"
  mv "$lock.new" "$lock"
  : >"$work/drift"
fi
key=$(cat "$work/packages" "$work/drift" "$here/build-base.sh" "$here/lib/debian.sh" - <<<"$targets $modules" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$out/i2kit-key" 2>/dev/null)" = "$key" ]; then
  say "base image is up to date: $out"
  exit 0
fi

download "$work/packages"
unpacked="$work/unpacked"
while read -r name version sha256; do
  mkdir -p "$unpacked/$name"
  unpack "$sha256" "$unpacked/$name"
done <"$work/packages"
kernel=$(basename "$(echo "$unpacked"/linux-image-*)")
release=${kernel#linux-image-}
boot="$work/boot-layer/boot" system="$work/system-layer/system"
install -d -m 755 "$boot/modules" "$system"

build_boot() {
  local tree="$unpacked/$kernel" folder
  [ -d "$tree/lib/modules" ] || tree="$tree/usr"
  folder="$tree/lib/modules/$release"
  [ -d "$folder" ] || fail "package $kernel has no lib/modules/$release"
  install -m 644 "$unpacked/$kernel/boot/vmlinuz-$release" "$boot/vmlinuz"
  install -m 644 "$unpacked/$kernel/boot/config-$release" "$boot/config"
  install -m 644 "$unpacked/systemd-boot-efi/usr/lib/systemd/boot/efi/linuxx64.efi.stub" "$boot/stub.efi"
  printf '%s\n' "$release" >"$boot/kernel.release"
  depmod -b "$tree" "$release"
  write_modules "$folder" >"$boot/modules.json"
  write_by_name "$folder" "$boot/modules.json" >"$boot/modules-by-name.json"
  # Not stripped: that would drop Debian's signature, and a kernel under Secure Boot's lockdown
  # loads no module without one.
  grep -ho 'kernel/[^"]*' "$boot/modules.json" "$boot/modules-by-name.json" | sort -u | while read -r module; do
    install -d -m 755 "$boot/modules/$(dirname "$module")"
    xz -dc "$folder/$module.xz" >"$boot/modules/$module"
  done
  write_record >"$boot/record.json"
}

write_modules() { # FOLDER
  local target comma=''
  printf '{'
  for target in ${targets//,/ }; do
    printf '%s\n  "%s": [' "$comma" "$target"
    # shellcheck disable=SC2086 # lists of names
    in_load_order "$1" $common ${drivers[$target]} | awk '{printf "%s\n    \"%s\"", (NR > 1 ? "," : ""), $0}'
    printf '\n  ]'
    comma=,
  done
  printf '\n}\n'
}

# A table of what to load for each module that a target lists or that is carried besides, and for
# each that one of those needs.
write_by_name() { # FOLDER TARGETS-TABLE
  local name carried comma=''
  # shellcheck disable=SC2086 # lists of names
  carried=$({
    grep -o 'kernel/[^"]*' "$2"
    in_load_order "$1" $optional ${modules//,/ }
  } | sed 's#.*/##; s#\.ko$##; s#-#_#g' | sort -u)
  printf '{'
  for name in $carried; do
    printf '%s\n  "%s": [' "$comma" "$name"
    in_load_order "$1" "$name" | awk '{printf "%s\"%s\"", (NR > 1 ? ", " : ""), $0}'
    printf ']'
    comma=,
  done
  printf '\n}\n'
}

# The files of the named modules with all they need, dependencies first, each once; what is built
# in is left out, a name that is neither is an error.
in_load_order() { # FOLDER NAME...
  local folder="$1" name path dependency
  shift
  for name in "$@"; do
    path=$(sed -n "s#^\(kernel/[^:]*/${name//[-_]/[-_]}\.ko\.xz\):.*#\1#p" "$folder/modules.dep")
    if [ -z "$path" ]; then
      grep -q "/${name//[-_]/[-_]}\.ko$" "$folder/modules.builtin" || fail "kernel $release has no module $name"
      continue
    fi
    for dependency in $(modinfo -b "${folder%/lib/modules/*}" -k "$release" -F softdep "$name" | sed -n 's/.*pre: *//p' | sed 's/post:.*//'); do
      if grep -q "/${dependency//[-_]/[-_]}\.ko\.xz:" "$folder/modules.dep"; then
        in_load_order "$folder" "$dependency" | sed 's/$/.xz/'
      fi
    done
    # depmod lists what is needed most last.
    sed -n "s#^$path: *##p" "$folder/modules.dep" | tr ' ' '\n' | grep . | tac || true
    printf '%s\n' "$path"
  done | sed 's/\.xz$//' | awk '!seen[$0]++'
}

write_record() {
  grep -o '^CONFIG_EROFS_FS_ZIP[A-Z0-9_]*=y' "$boot/config" | sed 's/CONFIG_EROFS_FS_//; s/=y//; s/^ZIP$/LZ4/; s/^ZIP_//' |
    grep -xE 'LZ4|LZMA|DEFLATE|ZSTD' | tr '[:upper:]' '[:lower:]' >"$work/compression"
  printf '{\n  "kernel": "%s",\n  "distribution": {"id": "debian", "version": "12", "codename": "bookworm"},\n  "consoles": ["tty0", "ttyS0"],\n  "erofs": %s,\n' "$release" "$(json_lines "$work/compression")"
  printf '  "packages": %s,\n  "drift": %s\n}\n' "$(json_packages "$work/packages")" "$(json_lines "$work/drift")"
}

# Copies a file of a package and, for a program or library, what it is linked with.
take() { # PATH-IN-PACKAGE MODE
  local path="$1" mode="$2" source target library
  target="$system/usr/${path#usr/}"
  [ ! -e "$target" ] || return 0
  source=$(find_file "$path")
  install -D -m "$mode" "$source" "$target"
  for library in $(readelf -d "$source" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
    case "$library" in
      ld-linux-x86-64.so.2) take "usr/lib64/$library" 755 ;;
      *) take "usr/lib/x86_64-linux-gnu/$library" 644 ;;
    esac
  done
}

# A path under usr/ in whichever package has it, there or in / (packages differ in that).
find_file() { # PATH
  local found
  for found in "$unpacked"/*/"$1" "$unpacked"/*/"${1#usr/}"; do
    if [ -e "$found" ]; then
      printf '%s\n' "$found"
      return
    fi
  done
  fail "no pinned package has $1; hint: add the package that has it to $lock"
}

build_system() {
  local folder
  for folder in bin sbin lib lib64; do
    install -d -m 755 "$system/usr/$folder"
    ln -s "usr/$folder" "$system/$folder"
  done
  install -d -m 755 "$system"/{proc,sys,dev,run,var,mnt} "$system/etc/ssl/certs"
  install -d -m 700 "$system/root"
  install -d -m 1777 "$system/tmp"
  take usr/bin/containerd 755
  take usr/bin/containerd-shim-runc-v2 755
  take usr/sbin/runc 755
  take usr/sbin/mke2fs 755
  ln -s mke2fs "$system/usr/sbin/mkfs.ext4"
  install -m 644 "$unpacked/e2fsprogs/etc/mke2fs.conf" "$system/etc/mke2fs.conf"
  # As update-ca-certificates does: one file, each certificate ending with a newline.
  find "$unpacked/ca-certificates/usr/share/ca-certificates" -name '*.crt' -print0 | sort -z |
    xargs -0 awk 1 >"$system/etc/ssl/certs/ca-certificates.crt"
  take_copyrights
  printf 'root:x:0:0:root:/root:/usr/sbin/nologin\n' >"$system/etc/passwd"
  printf 'root:x:0:\n' >"$system/etc/group"
  ln -s /run/i2kit/resolv.conf "$system/etc/resolv.conf"
  printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' >"$system/etc/hosts"
}

# Who passes programs on passes their licences on. A package's folder may be a link to that of
# another from the same source.
take_copyrights() {
  local name document='' folder
  while read -r name _; do
    folder="$unpacked/$name/usr/share/doc/$name"
    [ ! -L "$folder" ] || folder="$unpacked/$(basename "$(readlink "$folder")")/usr/share/doc/$(basename "$(readlink "$folder")")"
    document="$folder/copyright"
    [ -f "$document" ] || fail "package $name has no usr/share/doc/$name/copyright"
    install -D -m 644 "$document" "$system/usr/share/doc/$name/copyright"
  done <"$work/packages"
}

# That no library is missing shows here, not in the guest.
check_system() {
  [ "$(uname -m)" = x86_64 ] || return 0
  run_inside usr/bin/containerd --version
  run_inside usr/bin/containerd-shim-runc-v2 -v
  run_inside usr/sbin/runc --version
  run_inside usr/sbin/mke2fs -V
}

run_inside() { # PROGRAM ARG...
  local program="$1"
  shift
  "$system/usr/lib64/ld-linux-x86-64.so.2" --library-path "$system/usr/lib/x86_64-linux-gnu" \
    "$system/$program" "$@" >"$work/output" 2>&1 || {
    cat "$work/output" >&2
    fail "$program of the base image does not run with its own libraries"
  }
}

build_boot
build_system
check_system
mkdir -p "$work/layout/blobs/sha256"
layers="$(layer "$work/boot-layer" "$work/layout")
$(layer "$work/system-layer" "$work/layout")"
layout "$work/layout" base '{}' "$layers"
cp "$boot/record.json" "$work/layout/record.json"
printf '%s\n' "$key" >"$work/layout/i2kit-key"
replace "$work/layout" "$out"
say "base image: kernel $release, boot $(mib "$(du -sb "$boot" | cut -f1)"), system $(mib "$(du -sb "$system" | cut -f1)") -> $out"
