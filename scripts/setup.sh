#!/usr/bin/env bash
# Installs what i2kit's scripts need and the machine lacks. See --help.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<HELP
Usage: scripts/setup.sh [--test] [--bench]

Installs the Debian 12 packages that building and running i2kit need and this machine lacks, as
root or with sudo. Says what it installs; silent when there is nothing to do. A program that is
there already counts, wherever it came from, and no package is ever removed.

  --test   also what the tests compare with: erofs-utils, cryptsetup, containerd, umoci, skopeo, rpm, go and others
  --bench  also what scripts/bench.sh compares with

Rust (1.95 or later) must be there.
HELP
}

wanted=(build)
while [ $# -gt 0 ]; do
  case "$1" in
    --test) wanted+=(test) ;;
    --bench) wanted+=(test bench) ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
# shellcheck source=scripts/lib/common.sh
. "$here/lib/common.sh"

# SET PROGRAM-OR-FILE PACKAGE: the package is installed where the program or file is missing.
needs() {
  cat <<TABLE
build cc gcc
build /usr/include/stdio.h libc6-dev
build protoc protobuf-compiler
build git git
build flock util-linux
build gpgv gpgv
build /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
build /etc/ssl/certs/ca-certificates.crt ca-certificates
build xz xz-utils
build depmod kmod
build readelf binutils
build mke2fs e2fsprogs
build curl curl
build qemu-system-x86_64 qemu-system-x86
build /usr/share/OVMF/OVMF_CODE_4M.fd ovmf
test c++ g++
test shellcheck shellcheck
test jq jq
test mkfs.erofs erofs-utils
test veritysetup cryptsetup-bin
test sgdisk gdisk
test sfdisk fdisk
test fsck.fat dosfstools
test mcopy mtools
test cpio cpio
test objdump binutils
test systemd-dissect systemd-container
test /usr/lib/systemd/systemd-measure systemd
test swtpm swtpm
test sbsign sbsigntool
test skopeo skopeo
test openssl openssl
test umoci umoci
test docker-registry docker-registry
test faketime faketime
test containerd containerd
test ctr containerd
test runc runc
test setfattr attr
test zstd zstd
test sbverify sbsigntool
test osslsigncode osslsigncode
test pesign pesign
test /usr/lib/python3.11/ensurepip/__init__.py python3-venv
test xxd xxd
test unshare util-linux
test rpmbuild rpm
test go golang-go
test /usr/bin/python3 python3
test skopeo skopeo
test docker-registry docker-registry
bench igzip isal
test /usr/bin/time time
TABLE
}

missing_packages() {
  local set what package
  needs | while read -r set what package; do
    case " ${wanted[*]} " in *" $set "*) ;; *) continue ;; esac
    case "$what" in
      /*) [ -e "$what" ] || printf '%s\n' "$package" ;;
      *) command -v "$what" >/dev/null || printf '%s\n' "$package" ;;
    esac
  done | sort -u
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    env DEBIAN_FRONTEND=noninteractive "$@"
  elif command -v sudo >/dev/null; then
    sudo env DEBIAN_FRONTEND=noninteractive "$@"
  else
    fail "installing needs root and there is no sudo; hint: as root, run: apt-get install --no-install-recommends ${packages[*]}"
  fi
}

install_packages() { # APT-OPTION... PACKAGE...
  as_root apt-get install -qq -y --no-install-recommends --no-remove "$@" >&2
}

# A qemu-utils from another suite (some machines bring it along) can hold back what
# qemu-system-x86 of this one needs: then the two are brought to one version, or qemu comes from
# where qemu-utils came from.
install_qemu() {
  install_packages qemu-system-x86 && return
  local candidate
  candidate=$(apt-cache policy qemu-system-x86 | awk '$1 == "Candidate:" {print $2}')
  if [ -n "$(dpkg-query -W -f '${Version}' qemu-utils 2>/dev/null)" ]; then
    say "qemu-utils stands in the way of qemu-system-x86: bringing both to $candidate"
    install_packages --allow-downgrades qemu-system-x86 "qemu-utils=$candidate" && return
  fi
  say "trying qemu-system-x86 of bookworm-backports"
  install_packages -t bookworm-backports qemu-system-x86 ||
    fail "qemu-system-x86 does not install (see above); hint: remove qemu-utils, or bring qemu-system-x86 in yourself"
}

check_rust() {
  local version minor
  command -v cargo >/dev/null || fail "there is no Rust toolchain; hint: install one with rustup, 1.95 or later"
  version=$(rustc --version 2>/dev/null) || fail "rustc does not run; hint: rustup default stable"
  minor=$(sed -n 's/^rustc 1\.\([0-9]*\)\..*/\1/p' <<<"$version")
  [ "${minor:-0}" -ge 95 ] || fail "$version is too old, i2kit needs 1.95; hint: rustup update"
  case " ${wanted[*]} " in *" test "*) ;; *) return 0 ;; esac
  local part
  for part in fmt clippy; do
    cargo "$part" --version >/dev/null 2>&1 || {
      command -v rustup >/dev/null || fail "cargo $part is missing; hint: install rustfmt and clippy"
      say "installing Rust's $part"
      rustup component add "${part/#fmt/rustfmt}" >&2
    }
  done
}

check_rust
mapfile -t packages < <(missing_packages)
[ "${#packages[@]}" -gt 0 ] || exit 0
say "installing Debian packages: ${packages[*]}"
# Stale lists name versions that mirrors have dropped.
as_root apt-get update -qq >&2 || say "warning: apt-get update failed; trying with the lists that are there"
qemu=0 others=()
for package in "${packages[@]}"; do
  case "$package" in
    qemu-system-x86) qemu=1 ;;
    *) others+=("$package") ;;
  esac
done
if [ "$qemu" = 1 ]; then install_qemu; fi
[ "${#others[@]}" = 0 ] || install_packages "${others[@]}"
# The tests start registries of their own; the package's service would only hold port 5000.
case " ${others[*]} " in
  *" docker-registry "*)
    [ ! -d /run/systemd/system ] || as_root systemctl disable --now docker-registry >&2 ||
      say "warning: the service docker-registry still runs"
    ;;
esac
still=$(missing_packages)
[ -z "$still" ] || fail "still missing after installation: ${still//$'\n'/ }"
