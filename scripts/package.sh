#!/usr/bin/env bash
# Makes what a release publishes. See --help.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<HELP
Usage: scripts/package.sh [--output DIR]

Makes in DIR (default: target/packages):

  i2kit-VERSION-x86_64-linux      the static program
  i2kit_VERSION_amd64.deb         the same with manual pages and completions, for Debian
  i2kit-base-VERSION.oci.tar      the base image as an OCI archive: i2kit build --base oci-archive:FILE,
                                  or skopeo copy oci-archive:FILE docker://REGISTRY/NAME
  SHA256SUMS

The same commit gives the same bytes of the two last-named files.
HELP
}

output=''
while [ $# -gt 0 ]; do
  case "$1" in
    --output) output="${2:?--output needs a folder}"; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
# shellcheck source=scripts/lib/common.sh
. "$here/lib/common.sh"
need dpkg-deb
cd "$here/.."
target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
version=$(cargo pkgid --package i2kit | sed 's/.*[#@]//')
output="${output:-$target/packages}"
mkdir -p "$output"
output=$(cd "$output" && pwd)
# dpkg-deb takes its times from here.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH
umask 022

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
"$here/install.sh" --prefix /usr --destdir "$tree/root"
install -m755 "$tree/root/usr/bin/i2kit" "$output/i2kit-$version-x86_64-linux"

gzip -9n "$tree"/root/usr/share/man/man1/*.1
mkdir "$tree/root/DEBIAN"
cat >"$tree/root/DEBIAN/control" <<CONTROL
Package: i2kit
Version: $version
Architecture: amd64
Maintainer: i2kit maintainers <maintainers@i2kit.invalid>
Installed-Size: $(du -sk --apparent-size "$tree/root/usr" | cut -f1)
Recommends: qemu-system-x86, ovmf
Section: admin
Priority: optional
Description: one Kubernetes Pod, one immutable virtual machine
 i2kit reads a Pod manifest, converts its OCI images and writes a bootable UEFI
 disk whose store is protected by dm-verity. QEMU is needed only to run it here.
CONTROL
dpkg-deb --build --root-owner-group "$tree/root" "$output/i2kit_${version}_amd64.deb" >/dev/null

"$here/build-base.sh"
tar -C "$cache/base" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
  --format=ustar -cf "$output/i2kit-base-$version.oci.tar.part" oci-layout index.json blobs
mv "$output/i2kit-base-$version.oci.tar.part" "$output/i2kit-base-$version.oci.tar"

cd "$output"
files=("i2kit-$version-x86_64-linux" "i2kit_${version}_amd64.deb" "i2kit-base-$version.oci.tar")
sha256sum "${files[@]}" >SHA256SUMS
say "in $output:"
for file in "${files[@]}"; do say "  $file  $(mib "$(stat -c %s "$file")")"; done
