# shellcheck shell=bash
# Debian packages through an apt configuration of our own: the host's is read for its mirrors and
# proxies and never changed. Needs no root. Sourced by build-base.sh and build-sample.sh.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

umask 022
export LC_ALL=C TZ=UTC
unset APT_CONFIG GZIP XZ_OPT XZ_DEFAULTS TAR_OPTIONS POSIXLY_CORRECT
debs="$cache/debs"
apt_dir="$cache/apt"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
mkdir -p "$debs" "$apt_dir"

# One script at a time uses apt's folders and replaces what lies in the cache.
take_turn() {
  exec 9>"$cache/.scripts.lock"
  flock --nonblock 9 || {
    say "waiting for another script that builds into $cache"
    flock 9
  }
}

# The host's mirrors for bookworm, its updates and its security suite, component main, signed by
# Debian: one-line and deb822 sources alike. I2KIT_APT_SOURCES names a sources.list to use instead.
apt_sources() {
  if [ -n "${I2KIT_APT_SOURCES:-}" ]; then
    cat "$I2KIT_APT_SOURCES"
    return
  fi
  local etc=${I2KIT_APT_ETC:-/etc/apt} file
  for file in "$etc/sources.list" "$etc"/sources.list.d/*.list "$etc"/sources.list.d/*.sources; do
    [ -f "$file" ] || continue
    case "$file" in
      *.sources) one_line_sources <"$file" ;;
      *) grep -E '^[[:space:]]*deb[[:space:]]' "$file" || true ;;
    esac
  done | awk -v keyring="$keyring" '
    {
      options = ""; first = 2
      if ($2 ~ /^\[/) {
        for (; first <= NF; first++) { options = options " " $first; if ($first ~ /\]$/) { first++; break } }
      }
      if (options ~ /signed-by=/ && options !~ /debian-archive/) next
      if ($(first + 1) !~ /^bookworm(-updates|-security)?$/) next
      for (i = first + 2; i <= NF; i++)
        if ($i == "main") {
          line = "deb [signed-by=" keyring "] " $first " " $(first + 1) " main"
          if (!seen[line]++) print line
          next
        }
    }'
}

# deb822 stanzas as lines of sources.list.
one_line_sources() {
  awk '
    function flush(    u, s, i, j) {
      if (types ~ /(^| )deb( |$)/ && enabled !~ /^(no|false|off|0)$/) {
        split(uris, u, " "); split(suites, s, " ")
        for (i = 1; i in u; i++)
          for (j = 1; j in s; j++)
            print "deb " (signed == "" ? "" : "[ signed-by=" signed " ] ") u[i] " " s[j] " " components
      }
      types = uris = suites = components = signed = enabled = key = ""
    }
    function add(value) {
      if (key == "types") types = types " " value
      if (key == "uris") uris = uris " " value
      if (key == "suites") suites = suites " " value
      if (key == "components") components = components " " value
      # A key pasted into the stanza is several words: keep the word that tells a path from it.
      if (key == "signed-by") signed = signed (value ~ /debian-archive/ ? "debian-archive" : "other")
      if (key == "enabled") enabled = tolower(value)
    }
    /^#/ { next }
    /^[[:space:]]*$/ { flush(); next }
    /^[[:space:]]/ { sub(/^[[:space:]]+/, ""); add($0); next }
    { key = tolower($0); sub(/:.*/, "", key); sub(/^[^:]*:[[:space:]]*/, ""); add($0) }
    END { flush() }'
}

# Writes the configuration and fetches the package lists, once a script.
apt_setup() {
  [ -z "${APT_CONFIG:-}" ] || return 0
  local sources
  need apt-get apt-cache apt-config
  sources=$(apt_sources)
  [ -n "$sources" ] ||
    fail "this host's apt has no source for Debian 12 (bookworm), component main; hint: name a sources.list with I2KIT_APT_SOURCES"
  mkdir -p "$apt_dir"/{lists/partial,archives/partial,etc/parts}
  : >"$apt_dir/status"
  printf '%s\n' "$sources" >"$apt_dir/etc/sources.list"
  {
    # Proxies and other ways of fetching are the host's; its hooks and the rest are not ours.
    apt-config dump | grep '^Acquire::' | grep -v '^Acquire::Languages' || true
    cat <<CONF
Dir::State "$apt_dir";
Dir::State::status "$apt_dir/status";
Dir::State::lists "$apt_dir/lists";
Dir::Cache "$apt_dir";
Dir::Cache::archives "$apt_dir/archives";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "$apt_dir/etc/parts";
Dir::Etc::sourcelist "$apt_dir/etc/sources.list";
Dir::Etc::sourceparts "$apt_dir/etc/parts";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "$apt_dir/etc/parts";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
Acquire::Languages { "none"; };
Acquire::Retries "3";
CONF
  } >"$apt_dir/apt.conf"
  export APT_CONFIG="$apt_dir/apt.conf"
  say "fetching package lists"
  apt-get update -qq >&2 || fail "apt-get update failed (see above)"
}

# NAME VERSION SHA256 of every version that the mirrors have of the named packages.
offered() { # NAME...
  apt-cache show "$@" 2>/dev/null | records || true
}

# The same, of the version that apt would install.
current() { # NAME...
  apt-cache show --no-all-versions "$@" 2>/dev/null | records || true
}

records() {
  awk '/^Package:/ {n=$2} /^Version:/ {v=$2} /^SHA256:/ {print n, v, $2}'
}

# A kernel's version is part of its package's name: its successor is what the meta package needs.
successor() { # NAME
  case "$1" in
    linux-image-6.12.*-cloud-amd64)
      apt-cache depends linux-image-6.12-cloud-amd64 | awk '$1 == "Depends:" {print $2; exit}'
      ;;
    *) printf '%s\n' "$1" ;;
  esac
}

# The packages of LOCK, or what the mirror has now in the place of those that are gone from it;
# prints NAME VERSION SHA256 in the lock's order and writes each difference to DRIFT. MODE is
# `locked` (fail on a difference), `update` (take the current ones) or empty (warn).
resolve_lock() { # LOCK DRIFT MODE
  local lock="$1" drift="$2" mode="$3" name version sha256 pins now offers=''
  : >"$drift"
  pins=$(pinned "$lock") || exit 1
  while read -r name version sha256 <&3; do
    if [ "$mode" != update ]; then
      if [ ! -f "$debs/$sha256.deb" ] && [ -z "$offers" ]; then
        apt_setup
        # shellcheck disable=SC2046 # names
        offers=$(offered $(cut -d' ' -f1 <<<"$pins"))
      fi
      if [ -f "$debs/$sha256.deb" ] || grep -qxF "$name $version $sha256" <<<"$offers"; then
        printf '%s %s %s\n' "$name" "$version" "$sha256"
        continue
      fi
      [ "$mode" != locked ] ||
        fail "$name $version ($sha256) is gone from the mirror, and --locked allows no other; hint: --update renews $(basename "$lock")"
    fi
    apt_setup
    now=$(current "$(successor "$name")" | head -n 1)
    [ -n "$now" ] || fail "the mirror has no package $name, nor a successor of it"
    if [ "$now" != "$name $version $sha256" ]; then
      if [ "$mode" = update ]; then
        say "update: $name $version -> $now"
      else
        say "WARNING: $(basename "$lock") pins $name $version, which is gone from the mirror: taking $now"
      fi
      printf '%s %s %s -> %s\n' "$name" "$version" "$sha256" "$now" >>"$drift"
    fi
    printf '%s\n' "$now"
  done 3<<<"$pins"
}

# The lines of LOCK, each NAME VERSION SHA256, without comments.
pinned() { # LOCK
  [ -r "$1" ] || fail "no lock file $1"
  awk -v file="$(basename "$1")" '
    function bad(why) {
      print "error: " file ":" NR ": " why > "/dev/stderr"
      failed = 1
      exit 1
    }
    { sub(/#.*/, "") }
    NF == 0 { next }
    NF != 3 || length($3) != 64 || $3 ~ /[^0-9a-f]/ { bad("not NAME VERSION SHA256: " $0) }
    seen[$1]++ { bad($1 " is pinned twice") }
    { print $1, $2, $3; count++ }
    END {
      if (!failed && !count) { print "error: " file " pins no package" > "/dev/stderr"; exit 1 }
    }' "$1"
}

# A JSON array of the lines of a file.
json_lines() { # FILE
  awk 'BEGIN { printf "[" } { gsub(/["\\]/, "\\\\&"); printf "%s\"%s\"", (NR > 1 ? ", " : ""), $0 } END { printf "]" }' "$1"
}

# A JSON array of the packages in a file of NAME VERSION SHA256, with their source packages.
json_packages() { # FILE
  local name version sha256 source source_version comma=''
  printf '['
  while read -r name version sha256; do
    # `Source: NAME (VERSION)`; either is the package's own where it is not told.
    read -r source source_version <<<"$(dpkg-deb -f "$debs/$sha256.deb" Source | tr -d '()')"
    printf '%s\n    {"name": "%s", "version": "%s", "architecture": "%s", "sha256": "%s", "source": "%s", "source_version": "%s"}' \
      "$comma" "$name" "$version" "$(dpkg-deb -f "$debs/$sha256.deb" Architecture)" "$sha256" \
      "${source:-$name}" "${source_version:-$version}"
    comma=,
  done <"$1"
  printf '\n  ]'
}

# Brings the packages in a file of NAME VERSION SHA256 into the cache, each checked against its
# SHA-256, those that lie there already too.
download() { # PACKAGES
  local name version sha256 wanted=() folder file
  while read -r name version sha256; do
    file="$debs/$sha256.deb"
    if [ -f "$file" ] && [ "$(sum "$file")" != "$sha256" ]; then
      say "WARNING: $file is damaged: fetching it again"
      rm "$file"
    fi
    [ -f "$file" ] || wanted+=("$name=$version")
  done <"$1"
  [ "${#wanted[@]}" -gt 0 ] || return 0
  apt_setup
  say "downloading ${#wanted[@]} packages"
  rm -rf "$debs"/.download-*
  folder=$(mktemp -d "$debs/.download-XXXXXX")
  (cd "$folder" && apt-get download -qq "${wanted[@]}" >&2) || {
    rm -rf "$folder"
    fail "download of packages failed (see above)"
  }
  for file in "$folder"/*.deb; do mv "$file" "$debs/$(sum "$file").deb"; done
  rm -rf "$folder"
  while read -r name version sha256; do
    [ -f "$debs/$sha256.deb" ] || fail "download $name $version: what came has not the SHA-256 $sha256"
  done <"$1"
}

sum() { # FILE
  sha256sum <"$1" | cut -d' ' -f1
}

unpack() { # SHA256 FOLDER
  dpkg-deb --fsys-tarfile "$debs/$1.deb" |
    tar -x -p --no-same-owner --keep-directory-symlink -C "$2"
}

# One layer: a deterministic tar of FOLDER's content, all owned by root, as a blob of the layout
# LAYOUT; prints DIGEST SIZE DIFFID. The folder itself is no entry, so that an image over an
# image leaves the root directory as it is.
layer() { # FOLDER LAYOUT
  local tar="$2/layer.tar" diff_id digest
  (cd "$1" && find . -mindepth 1 -maxdepth 1 -printf '%P\0' | sort -z) |
    tar -c -f "$tar" -C "$1" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
      --format=pax --pax-option='exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime' \
      --verbatim-files-from --null --files-from=-
  diff_id=$(sum "$tar")
  gzip -n -6 "$tar"
  digest=$(sum "$tar.gz")
  mv "$tar.gz" "$2/blobs/sha256/$digest"
  printf '%s %s %s\n' "$digest" "$(stat -c %s "$2/blobs/sha256/$digest")" "$diff_id"
}

# Standard input as a blob of the layout; prints DIGEST SIZE.
blob() { # LAYOUT
  local digest
  cat >"$1/blob"
  digest=$(sum "$1/blob")
  mv "$1/blob" "$1/blobs/sha256/$digest"
  printf '%s %s\n' "$digest" "$(stat -c %s "$1/blobs/sha256/$digest")"
}

# Completes LAYOUT: config, manifest, index. LAYERS are lines of `layer`'s output.
layout() { # LAYOUT TAG CONFIG-JSON LAYERS
  local folder="$1" tag="$2" config="$3" layers="$4" diff_ids descriptors image digest size
  diff_ids=$(awk '{printf "%s\"sha256:%s\"", (NR > 1 ? "," : ""), $3}' <<<"$layers")
  descriptors=$(awk '{printf "%s{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:%s\",\"size\":%s}", (NR > 1 ? "," : ""), $1, $2}' <<<"$layers")
  image=$(printf '{"architecture":"amd64","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":[%s]}}' "$config" "$diff_ids" | blob "$folder")
  read -r digest size <<<"$image"
  image=$(printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[%s]}' "$digest" "$size" "$descriptors" | blob "$folder")
  read -r digest size <<<"$image"
  printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"platform":{"architecture":"amd64","os":"linux"},"annotations":{"org.opencontainers.image.ref.name":"%s"}}]}\n' "$digest" "$size" "$tag" >"$folder/index.json"
  printf '{"imageLayoutVersion":"1.0.0"}\n' >"$folder/oci-layout"
}

# Puts the finished folder NEW in the place of OLD, in one step where there is an OLD: a reader
# finds the one or the other.
replace() { # NEW OLD
  mkdir -p "$(dirname "$2")"
  find "$1" -type f -exec sync {} +
  if [ ! -e "$2" ]; then
    mv -T "$1" "$2"
    return
  fi
  exchange "$1" "$2" || {
    mv -T "$2" "$1.old"
    mv -T "$1" "$2"
    rm -rf "$1.old"
  }
}

# renameat2(2) with RENAME_EXCHANGE, by its number on this architecture; perl-base is essential
# in Debian, and Debian 12's mv has no --exchange.
exchange() { # ONE OTHER
  local number
  case "$(uname -m)" in
    x86_64) number=316 ;;
    aarch64) number=276 ;;
    *) return 1 ;;
  esac
  # shellcheck disable=SC2016 # perl's own variables
  perl -e 'my ($n, $one, $other) = @ARGV; exit(syscall($n + 0, -100, $one, -100, $other, 2) == 0 ? 0 : 1)' "$number" "$1" "$2"
}
