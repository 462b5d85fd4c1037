#!/usr/bin/env bash
# Builds the sample container images from Debian packages. See --help.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<HELP
Usage: scripts/build-sample.sh [--locked | --update]

Builds two sample container images as OCI layouts in \$XDG_CACHE_HOME/i2kit/samples, from the
Debian 12 packages that scripts/samples.lock pins. Needs no root and no container engine; an
image is built anew only when a package or this script changed.

  nginx   Debian's required packages, its nginx and a page, in three layers; serves port 80
  tiny    busybox, static, in one layer

  --locked  fail when the mirror has dropped a pinned version (default: warn, take the current
            one, record the drift in the layout's record.json)
  --update  take the current versions and renew scripts/samples.lock

Environment: I2KIT_APT_SOURCES, a sources.list to use in place of the host's sources.
HELP
}

mode='' lock="${I2KIT_SAMPLES_LOCK:-$here/samples.lock}"
while [ $# -gt 0 ]; do
  case "$1" in
    --locked) mode=locked ;;
    --update) mode=update ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
# shellcheck source=scripts/lib/debian.sh
. "$here/lib/debian.sh"
need dpkg-deb flock
take_turn
out="$cache/samples"
mkdir -p "$out"
work=$(mktemp -d "$out/.new-XXXXXX")
trap 'rm -rf "$work"' EXIT

# What Debian calls required, with the named packages, as apt resolves it on an empty system.
closure() { # NAME...
  local required
  required=$(apt-cache dumpavail | awk '/^Package:/ {n=$2} /^Priority: required/ {print n}' | sort -u)
  # shellcheck disable=SC2086 # a list of names
  apt-get install -s -qq --no-install-recommends $required "$@" | awk '$1 == "Inst" {print $2}' | sort -u
}

# The lock's sections are the images' layers.
renew_lock() {
  apt_setup
  closure >"$work/required"
  closure nginx | comm -13 "$work/required" - >"$work/nginx-needs"
  {
    printf '# NAME VERSION SHA256 of every package in the sample images. scripts/build-sample.sh --update renews it.\n'
    printf '# tiny\n'
    current busybox-static
    printf '# nginx: what Debian requires\n'
    mapfile -t names <"$work/required"
    current "${names[@]}"
    printf '# nginx: the server and what it needs besides\n'
    mapfile -t names <"$work/nginx-needs"
    current "${names[@]}"
  } >"$work/lock"
  cat "$work/lock" >"$lock"
}

if [ "$mode" = update ]; then renew_lock; fi
resolve_lock "$lock" "$work/drift" "${mode/update/}" >"$work/packages"
# The sections as files; a package that replaces another keeps its line.
awk '/^# tiny/ {s = "tiny"} /^# nginx: what/ {s = "base"} /^# nginx: the/ {s = "server"} !/^#/ && NF {print s}' "$lock" |
  paste -d ' ' - "$work/packages" >"$work/sections"

section() { # NAME
  awk -v name="$1" '$1 == name {print $2, $3, $4}' "$work/sections"
}

unpack_section() { # NAME FOLDER
  local sha256
  section "$1" | cut -d' ' -f3 | while read -r sha256; do unpack "$sha256" "$2"; done
}

# dpkg's database, as if the section's packages had been installed.
dpkg_status() { # NAME
  local sha256
  section "$1" | cut -d' ' -f3 | while read -r sha256; do
    dpkg-deb -f "$debs/$sha256.deb" | sed '1a Status: install ok installed'
    printf '\n'
  done
}

# Where bin is a link to usr/bin, packages that know only /bin fall in place.
merged_usr() { # FOLDER
  local folder
  for folder in bin sbin lib lib64; do
    mkdir -p "$1/usr/$folder"
    ln -s "usr/$folder" "$1/$folder"
  done
}

nginx() {
  local base="$work/nginx-base" server="$work/nginx-server" page="$work/nginx-page" layers
  mkdir -p "$base" "$server" "$page/var/www/html" "$page/etc/nginx/conf.d" "$page/var/log/nginx" "$work/nginx/blobs/sha256"
  merged_usr "$base"
  unpack_section base "$base"
  # What the packages' scripts would have done.
  cp "$base/usr/share/base-passwd/passwd.master" "$base/etc/passwd"
  cp "$base/usr/share/base-passwd/group.master" "$base/etc/group"
  ln -s mawk "$base/usr/bin/awk"
  dpkg_status base >"$base/var/lib/dpkg/status"
  merged_usr "$server"
  unpack_section server "$server"
  mkdir -p "$server/var/lib/dpkg"
  { dpkg_status base; dpkg_status server; } >"$server/var/lib/dpkg/status"
  # The links belong to the layer below, and so do folders that got nothing.
  rm "$server"/{bin,sbin,lib,lib64}
  rmdir --ignore-fail-on-non-empty "$server"/usr/{bin,sbin,lib,lib64}
  cat >"$page/var/www/html/index.html" <<'PAGE'
<!doctype html>
<title>i2kit</title>
<h1>This page comes from a virtual machine made of one Pod.</h1>
PAGE
  cat >"$page/etc/nginx/conf.d/default.conf" <<'CONF'
server {
  listen 80 default_server;
  root /var/www/html;
}
CONF
  # Its logs are the container's, as in nginx's own image.
  ln -s /dev/stdout "$page/var/log/nginx/access.log"
  ln -s /dev/stderr "$page/var/log/nginx/error.log"
  layers="$(layer "$base" "$work/nginx")
$(layer "$server" "$work/nginx")
$(layer "$page" "$work/nginx")"
  layout "$work/nginx" latest '{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Entrypoint":["nginx"],"Cmd":["-g","daemon off;"],"ExposedPorts":{"80/tcp":{}},"StopSignal":"SIGQUIT"}' "$layers"
  { section base; section server; } >"$work/nginx-packages"
}

tiny() {
  local root="$work/tiny-root" applet
  mkdir -p "$work/busybox" "$root"/{bin,etc,data} "$work/tiny/blobs/sha256"
  unpack_section tiny "$work/busybox"
  install -m 755 "$work/busybox/bin/busybox" "$root/bin/busybox"
  for applet in awk cat chmod chown cp cut date dd df dmesg echo env expr false find free grep halt \
    head hostname httpd id ip kill ln ls mkdir mkfifo mktemp mount mv nc nslookup od pidof ping \
    printf ps pwd readlink rm sed seq sh sha256sum sleep sort stat stty sync tail tar test top touch \
    tr true tty umount uname uniq wc wget which xargs yes; do
    ln -s busybox "$root/bin/$applet"
  done
  printf 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/data:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' >"$root/etc/passwd"
  printf 'root:x:0:\napp:x:1000:\nextra:x:2000:app\nnogroup:x:65534:\n' >"$root/etc/group"
  printf 'seed\n' >"$root/data/seed"
  layout "$work/tiny" latest '{"Env":["PATH=/bin"],"Cmd":["sh","-c","echo hello from tiny"],"WorkingDir":"/data","Volumes":{"/data":{}}}' "$(layer "$root" "$work/tiny")"
  section tiny >"$work/tiny-packages"
}

for image in nginx tiny; do
  key=$(cat "$work/sections" "$work/drift" "$here/build-sample.sh" "$here/lib/debian.sh" | sha256sum | cut -d' ' -f1)
  if [ "$(cat "$out/$image/i2kit-key" 2>/dev/null)" = "$key" ]; then
    say "sample image is up to date: $out/$image"
    continue
  fi
  download "$work/packages"
  "$image"
  printf '{\n  "packages": %s,\n  "drift": %s\n}\n' "$(json_packages "$work/$image-packages")" "$(json_lines "$work/drift")" >"$work/$image/record.json"
  printf '%s\n' "$key" >"$work/$image/i2kit-key"
  replace "$work/$image" "$out/$image"
  say "sample image: $image, $(mib "$(du -sb "$out/$image" | cut -f1)") compressed -> $out/$image"
done
