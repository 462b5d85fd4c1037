# shellcheck shell=bash
# Debian packages by an apt configuration of our own: the host's is read for its mirrors and keys
# and never changed. Needs no root. Sourced by build-base.sh and build-sample.sh.

umask 022
export LC_ALL=C TZ=UTC
cache="${XDG_CACHE_HOME:-$HOME/.cache}/i2kit"
debs="$cache/debs"
apt_dir="$cache/apt"
mkdir -p "$debs" "$apt_dir"

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "error: $*"
  exit 1
}

need() {
  local tool
  for tool in "$@"; do
    command -v "$tool" >/dev/null || fail "$tool is missing; hint: scripts/setup.sh installs it"
  done
}

# The host's mirrors for bookworm and its security suite, main only. I2KIT_APT_SOURCES names a
# sources.list to use instead.
apt_sources() {
  if [ -n "${I2KIT_APT_SOURCES:-}" ]; then
    cat "$I2KIT_APT_SOURCES"
    return
  fi
  # shellcheck disable=SC2016 # apt's own variables
  apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
    awk '$2 ~ /^bookworm(-updates|-security)?$/ && $3 == "main" && !seen[$0]++ {
      print "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] " $1 " " $2 " " $3 }'
}

apt_setup() {
  [ -z "${APT_CONFIG:-}" ] || [ "$APT_CONFIG" != "$apt_dir/apt.conf" ] || return 0
  local sources
  sources=$(apt_sources)
  [ -n "$sources" ] || fail "this host's apt has no source for Debian 12 (bookworm); hint: name a sources.list with I2KIT_APT_SOURCES"
  mkdir -p "$apt_dir"/{lists/partial,archives/partial,etc/parts}
  : >"$apt_dir/status"
  printf '%s\n' "$sources" >"$apt_dir/etc/sources.list"
  cat >"$apt_dir/apt.conf" <<EOF
Dir::State "$apt_dir";
Dir::State::status "$apt_dir/status";
Dir::State::lists "$apt_dir/lists";
Dir::Cache "$apt_dir";
Dir::Cache::archives "$apt_dir/archives";
Dir::Etc::sourcelist "$apt_dir/etc/sources.list";
Dir::Etc::sourceparts "$apt_dir/etc/parts";
Dir::Etc::preferencesparts "$apt_dir/etc/parts";
APT::Architecture "amd64";
APT::Architectures "amd64";
APT::Sandbox::User "root";
Acquire::Languages "none";
EOF
  export APT_CONFIG="$apt_dir/apt.conf"
  apt-get update -qq >&2
}

# NAME VERSION SHA256 of a package as the mirror has it now, or nothing.
current() {
  apt-cache show --no-all-versions "$1" 2>/dev/null |
    awk '/^Package:/ {n=$2} /^Version:/ {v=$2} /^SHA256:/ {print n, v, $2; exit}'
}

# SHA256 of one exact version on the mirror, or nothing.
offered() {
  apt-cache show "$1=$2" 2>/dev/null | awk '/^SHA256:/ {print $2; exit}'
}

# Brings one package (NAME VERSION SHA256) into the folder of packages.
download() {
  local name="$1" version="$2" sha256="$3" folder
  [ ! -f "$debs/$sha256.deb" ] || return 0
  apt_setup
  folder=$(mktemp -d "$debs/.download-XXXXXX")
  (cd "$folder" && apt-get download -qq "$name=$version" >&2) || {
    rm -rf "$folder"
    fail "download $name $version failed"
  }
  printf '%s  %s\n' "$sha256" "$(echo "$folder"/*.deb)" | sha256sum --check --quiet >&2 || {
    rm -rf "$folder"
    fail "download $name $version: its SHA-256 is not $sha256"
  }
  mv "$folder"/*.deb "$debs/$sha256.deb"
  rm -rf "$folder"
}

unpack() { # SHA256 FOLDER
  dpkg-deb --fsys-tarfile "$debs/$1.deb" |
    tar -x -p --no-same-owner --keep-directory-symlink -C "$2"
}

# One layer: a deterministic tar of FOLDER as a blob of the layout LAYOUT; prints
# DIGEST SIZE DIFFID.
layer() { # FOLDER LAYOUT
  local tar="$2/layer.tar" diff_id digest
  tar -c -f "$tar" -C "$1" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
    --format=pax --pax-option='exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime' .
  diff_id=$(sha256sum <"$tar" | cut -d' ' -f1)
  gzip -n -6 "$tar"
  digest=$(sha256sum <"$tar.gz" | cut -d' ' -f1)
  mv "$tar.gz" "$2/blobs/sha256/$digest"
  printf '%s %s %s\n' "$digest" "$(stat -c %s "$2/blobs/sha256/$digest")" "$diff_id"
}

blob() { # LAYOUT, bytes on standard input; prints DIGEST SIZE
  local digest
  cat >"$1/blob"
  digest=$(sha256sum <"$1/blob" | cut -d' ' -f1)
  mv "$1/blob" "$1/blobs/sha256/$digest"
  printf '%s %s\n' "$digest" "$(stat -c %s "$1/blobs/sha256/$digest")"
}

# Completes LAYOUT: config, manifest, index. LAYERS are lines of `layer`'s output.
layout() { # LAYOUT TAG CONFIG-JSON LAYERS
  local folder="$1" tag="$2" config="$3" layers="$4" diff_ids descriptors digest size
  diff_ids=$(awk '{printf "%s\"sha256:%s\"", (NR > 1 ? "," : ""), $3}' <<<"$layers")
  descriptors=$(awk '{printf "%s{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:%s\",\"size\":%s}", (NR > 1 ? "," : ""), $1, $2}' <<<"$layers")
  read -r digest size < <(printf '{"architecture":"amd64","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":[%s]}}' "$config" "$diff_ids" | blob "$folder")
  read -r digest size < <(printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[%s]}' "$digest" "$size" "$descriptors" | blob "$folder")
  printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"annotations":{"org.opencontainers.image.ref.name":"%s"}}]}\n' "$digest" "$size" "$tag" >"$folder/index.json"
  printf '{"imageLayoutVersion":"1.0.0"}\n' >"$folder/oci-layout"
}

# Puts the finished NEW in the place of OLD.
replace() { # NEW OLD
  mkdir -p "$(dirname "$2")"
  rm -rf "$2.old"
  if [ -e "$2" ]; then mv "$2" "$2.old"; fi
  mv "$1" "$2"
  rm -rf "$2.old"
}

# Every pinned package of LOCK, or what the mirror has in its place; prints NAME VERSION SHA256
# and writes what differs to DRIFT. MODE is locked, update or empty.
resolve_lock() { # LOCK DRIFT MODE
  local lock="$1" drift="$2" mode="$3" name version sha256 now
  : >"$drift"
  while read -r name version sha256; do
    if [ "$mode" != update ]; then
      if [ -f "$debs/$sha256.deb" ]; then
        printf '%s %s %s\n' "$name" "$version" "$sha256"
        continue
      fi
      apt_setup
      if [ "$(offered "$name" "$version")" = "$sha256" ]; then
        printf '%s %s %s\n' "$name" "$version" "$sha256"
        continue
      fi
      [ "$mode" != locked ] ||
        fail "$name $version ($sha256) is gone from the mirror, and --locked allows no other; hint: --update renews $lock"
    fi
    apt_setup
    now=$(current "$(successor "$name")")
    [ -n "$now" ] || fail "the mirror has no package $name"
    if [ "$now" != "$name $version $sha256" ]; then
      if [ "$mode" = update ]; then
        say "update: $name $version -> $now"
      else
        say "WARNING: DRIFT: $name $version is gone from the mirror; taking $now"
      fi
      printf '%s %s %s -> %s\n' "$name" "$version" "$sha256" "$now" >>"$drift"
    fi
    printf '%s\n' "$now"
  done < <(grep -v '^#' "$lock")
}

# A kernel's version is part of its package's name: its successor is what the meta package needs.
successor() {
  case "$1" in
    linux-image-6.12.*-cloud-amd64)
      apt-cache depends linux-image-6.12-cloud-amd64 | awk '$1 == "Depends:" {print $2; exit}'
      ;;
    *) printf '%s\n' "$1" ;;
  esac
}
