#!/usr/bin/env bash
# Builds the sample container images from Debian packages. See --help.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<EOF
Usage: scripts/build-sample.sh [--update]

Builds two sample container images as OCI layouts in \$XDG_CACHE_HOME/i2kit/samples, from the
Debian 12 packages that scripts/samples.lock pins. Needs no root and no container engine.

  nginx   Debian's nginx with a page, in three layers, serving port 80
  tiny    busybox, static, one layer

  --update  take the current versions and renew scripts/samples.lock
EOF
}

mode='' lock="$here/samples.lock"
while [ $# -gt 0 ]; do
  case "$1" in
    --update) mode=update ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
# shellcheck source=scripts/lib/debian.sh
. "$here/lib/debian.sh"
need apt-get dpkg-deb
out="$cache/samples"
work=$(mktemp -d "$cache/.samples-XXXXXX")
trap 'rm -rf "$work"' EXIT

# What Debian calls required, and what nginx needs besides, as apt resolves it on an empty system.
closure() {
  local required
  required=$(apt-cache dumpavail | awk '/^Package:/ {n=$2} /^Priority: required/ {print n}' | sort -u)
  # shellcheck disable=SC2086 # a list of names
  apt-get install -s -qq --no-install-recommends $required $1 | awk '$1 == "Inst" {print $2}' | sort
}

renew_lock() {
  local name
  apt_setup
  {
    printf '# NAME VERSION SHA256 of every package in the sample images. scripts/build-sample.sh --update renews it.\n'
    for name in $(closure '') busybox-static; do printf '%s\n' "$(current "$name")"; done
    printf '# nginx and what it needs besides\n'
    comm -13 <(closure '') <(closure 'nginx-full perl python3-minimal') | while read -r name; do current "$name"; done
  } >"$work/lock"
  cp "$work/lock" "$lock"
}

[ "$mode" != update ] || renew_lock
resolve_lock "$lock" "$work/drift" '' >"$work/packages"
key=$(cat "$work/packages" "$0" "$here/lib/debian.sh" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$out/i2kit-key" 2>/dev/null)" = "$key" ]; then
  say "sample images are up to date: $out"
  exit 0
fi
while read -r name version sha256; do download "$name" "$version" "$sha256"; done <"$work/packages"
# The packages of a lock's two parts; drift keeps the order.
first=$(sed '/^# nginx/,$d' "$lock" | grep -vc '^#')

nginx() {
  local base="$work/nginx-base" server="$work/nginx-server" page="$work/nginx-page" folder layers
  mkdir -p "$base" "$server/usr"/{bin,sbin,lib,lib64} "$page"
  for folder in bin sbin lib lib64; do
    mkdir -p "$base/usr/$folder"
    ln -s "usr/$folder" "$base/$folder"
    ln -s "usr/$folder" "$server/$folder"
  done
  head -n "$first" "$work/packages" | grep -v '^busybox-static' | while read -r _ _ sha256; do unpack "$sha256" "$base"; done
  tail -n "+$((first + 1))" "$work/packages" | while read -r _ _ sha256; do unpack "$sha256" "$server"; done
  # What the packages' scripts would have done.
  cp "$base/usr/share/base-passwd/passwd.master" "$base/etc/passwd"
  cp "$base/usr/share/base-passwd/group.master" "$base/etc/group"
  rm "$server"/{bin,sbin,lib,lib64}
  mkdir -p "$page/var/www/html" "$page/etc/nginx/conf.d"
  printf '<!doctype html>\n<title>i2kit</title>\n<h1>This page comes from a virtual machine made of one Pod.</h1>\n' >"$page/var/www/html/index.html"
  cat >"$page/etc/nginx/conf.d/default.conf" <<'EOF'
server {
  listen 80 default_server;
  root /var/www/html;
}
EOF
  chmod -R a+rX "$page"
  mkdir -p "$work/nginx/blobs/sha256"
  layers="$(layer "$base" "$work/nginx")
$(layer "$server" "$work/nginx")
$(layer "$page" "$work/nginx")"
  layout "$work/nginx" latest '{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":["nginx","-g","daemon off;"],"ExposedPorts":{"80/tcp":{}},"StopSignal":"SIGQUIT"}' "$layers"
}

tiny() {
  local root="$work/tiny-root" applet
  mkdir -p "$work/busybox" "$root"/{bin,etc,data} "$work/tiny/blobs/sha256"
  unpack "$(awk '$1 == "busybox-static" {print $3}' "$work/packages")" "$work/busybox"
  install -m 755 "$(find "$work/busybox" -name busybox -type f | head -n 1)" "$root/bin/busybox"
  for applet in sh cat ls echo sleep id env pwd wget httpd nc dd df mount touch test rm mkdir stat kill hostname true false head tail grep printf awk seq; do
    ln -s busybox "$root/bin/$applet"
  done
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\napp:x:1000:1000::/data:/bin/sh\n' >"$root/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\napp:x:1000:\nextra:x:2000:app\n' >"$root/etc/group"
  printf 'seed\n' >"$root/data/seed"
  layout "$work/tiny" latest '{"Env":["PATH=/bin"],"Cmd":["sh","-c","echo hello from tiny"],"WorkingDir":"/data","Volumes":{"/data":{}}}' "$(layer "$root" "$work/tiny")"
}

nginx
tiny
printf '%s\n' "$key" >"$work/i2kit-key"
say "sample images: nginx $(du -sh "$work/nginx-base" | cut -f1) + $(du -sh "$work/nginx-server" | cut -f1), tiny -> $out"
replace "$work/nginx" "$out/nginx"
replace "$work/tiny" "$out/tiny"
mv "$work/i2kit-key" "$out/i2kit-key"
