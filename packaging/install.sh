#!/bin/sh
# Installs miosa-env, miosa-vault and miosa-egress from an archive, after it has verified the archive's SHA-256 checksum and the
# signature of the checksums. Read it, then run it from a file. It needs root only to write to PREFIX.
set -eu
LC_ALL=C
export LC_ALL

usage() {
  cat <<'TEXT'
Usage: sh install.sh --base-url URL --public-key KEY [--prefix DIR] [--dry-run]
       sh install.sh --remove [--prefix DIR] [--dry-run]

  --base-url URL   where the archives and SHA256SUMS of one version are: https, or http to
                   this machine itself; without a user or password [MIOSA_INSTALL_URL]
  --public-key KEY the key that signs SHA256SUMS: "ssh-ed25519 AAAA...", or a file with one
                   such key in each line. Without it, only a damaged download is noticed,
                   and not a forged one [MIOSA_INSTALL_PUBLIC_KEY]
  --prefix DIR     where bin and share are put (default /usr/local) [PREFIX]
  --remove         take away what was installed there
  --dry-run        download and check, and say what would be done

Exit codes: 0 done, 1 it couldn't be, 2 wrong usage, 3 a signature or checksum is another: nothing was installed.
TEXT
}

say() { printf 'install: %s\n' "$*"; }
fail() { code=$1; shift; printf 'install: error: %s\n' "$*" >&2; exit "$code"; }
has() { command -v "$1" >/dev/null 2>&1; }

base=${MIOSA_INSTALL_URL:-} key=${MIOSA_INSTALL_PUBLIC_KEY:-} prefix=${PREFIX:-/usr/local} dry='' remove=''
while [ $# -gt 0 ]; do
  case $1 in
    --base-url | --prefix | --public-key)
      [ $# -ge 2 ] || fail 2 "$1 needs a value"
      case $1 in
        --base-url) base=$2 ;;
        --prefix) prefix=$2 ;;
        *) key=$2 ;;
      esac
      shift ;;
    --base-url=*) base=${1#*=} ;;
    --public-key=*) key=${1#*=} ;;
    --prefix=*) prefix=${1#*=} ;;
    --dry-run) dry=1 ;;
    --remove) remove=1 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; fail 2 "unknown argument $1" ;;
  esac
  shift
done
case $prefix in /*) ;; *) fail 2 "--prefix wants an absolute path" ;; esac
prefix=${prefix%/}

# installed lists our files below PREFIX.
installed() {
  for name in miosa-env miosa-vault miosa-egress; do
    for file in "bin/$name" "share/man/man1/$name.1" "share/man/man1/$name"-*.1 "share/bash-completion/completions/$name" \
      "share/zsh/site-functions/_$name" "share/fish/vendor_completions.d/$name.fish"; do
      [ ! -f "$file" ] || printf '%s\n' "$file"
    done
  done
  for file in share/doc/miosa-env/*; do
    [ ! -f "$file" ] || printf '%s\n' "$file"
  done
}

if [ -n "$remove" ]; then
  cd "$prefix" || fail 1 "there is no $prefix"
  installed | while IFS= read -r file; do
    if [ -n "$dry" ]; then
      say "would remove $prefix/$file"
    else
      rm -f -- "$file" && say "removed $prefix/$file"
    fi
  done
  [ -n "$dry" ] || rmdir share/doc/miosa-env 2>/dev/null || :
  exit 0
fi

base=${base%/}
[ -n "$base" ] || { usage >&2; fail 2 "--base-url is missing"; }
# Text before an @ is a user and a password, even if it looks like a host. The URL isn't printed: it may contain a secret.
case $base in
  *[!!-~]* | *\\*) fail 2 "--base-url must not contain spaces, control characters or backslashes" ;;
  *\?* | *\#*) fail 2 "--base-url must not contain ? or #" ;;
esac
host=${base#*://} host=${host%%/*}
case $host in
  *@*) fail 2 "--base-url must not contain a user or password (what is in front of the @)" ;;
esac
case $base in
  https://?*) ;;
  http://*)
    case $host in
      127.0.0.1 | localhost | '[::1]') ;;
      127.0.0.1:*[!0-9]* | localhost:*[!0-9]* | '[::1]':*[!0-9]*) fail 2 "--base-url has a port that is no number" ;;
      127.0.0.1:* | localhost:* | '[::1]':*) ;;
      *) fail 2 "--base-url wants https" ;;
    esac ;;
  *) fail 2 "--base-url wants https" ;;
esac
case $(uname -s) in
  Linux) system=linux ;;
  Darwin) system=darwin ;;
  *) fail 1 "there is no archive for $(uname -s)" ;;
esac
case $(uname -m) in
  x86_64 | amd64) machine=amd64 ;;
  aarch64 | arm64) machine=arm64 ;;
  *) fail 1 "there is no archive for $(uname -m)" ;;
esac

# fetch URL FILE
fetch() {
  if has curl; then
    curl --fail --silent --show-error --location --proto =https,http --proto-redir =https --output "$2" "$1"
  else
    wget -q -O "$2" "$1"
  fi || fail 1 "$1 can't be downloaded"
}

# sum FILE
sum() {
  if has sha256sum; then
    sha256sum <"$1"
  else
    shasum -a 256 <"$1"
  fi | cut -d ' ' -f 1
}

has curl || has wget || fail 1 "neither curl nor wget is here"
has sha256sum || has shasum || fail 1 "neither sha256sum nor shasum is here: nothing could be checked"

# signers prints the keys in the form of ssh-keygen's allowed signers.
signers() {
  if [ -f "$key" ]; then cat -- "$key"; else printf '%s\n' "$key"; fi | while IFS= read -r line || [ -n "$line" ]; do
    case $line in
      '' | \#*) continue ;;
      ssh-ed25519\ * | ssh-rsa\ * | ecdsa-sha2-nistp*\ * | sk-ssh-ed25519@openssh.com\ * | sk-ecdsa-sha2-nistp256@openssh.com\ *) ;;
      *) fail 2 '--public-key wants a key such as "ssh-ed25519 AAAA...", or a file with one in each line' ;;
    esac
    printf 'release namespaces="miosa-env-release" %s\n' "$line"
  done
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
if [ -n "$key" ]; then
  has ssh-keygen || fail 1 "ssh-keygen, which checks the signature, isn't here: install the client of OpenSSH"
  signers >"$work/signers"
  [ -s "$work/signers" ] || fail 2 "--public-key names a file without a key"
fi
fetch "$base/SHA256SUMS" "$work/SHA256SUMS"
if [ -n "$key" ]; then
  fetch "$base/SHA256SUMS.sig" "$work/SHA256SUMS.sig"
  ssh-keygen -Y verify -f "$work/signers" -I release -n miosa-env-release -s "$work/SHA256SUMS.sig" \
    <"$work/SHA256SUMS" >/dev/null 2>&1 || fail 3 "SHA256SUMS isn't signed by --public-key: nothing was installed"
  say "SHA256SUMS is signed by --public-key"
else
  say "SHA256SUMS isn't verified: there is no --public-key"
fi
line=$(grep -E "^[0-9a-f]{64}  miosa-env_[0-9A-Za-z.+~-]+_${system}_$machine\.tar\.gz\$" "$work/SHA256SUMS" || :)
case $line in
  '') fail 1 "SHA256SUMS has no archive for $system $machine" ;;
  *"
"*) fail 1 "SHA256SUMS has several archives for $system $machine" ;;
esac
want=${line%% *} name=${line##* }
fetch "$base/$name" "$work/$name"
got=$(sum "$work/$name")
[ "$got" = "$want" ] || fail 3 "$name has the checksum $got, and SHA256SUMS says $want: nothing was installed"
say "$name is as SHA256SUMS says"

tar -xzf "$work/$name" -C "$work"
cd "$work/${name%.tar.gz}"
find bin share -type f | LC_ALL=C sort >"$work/files"
if [ -n "$dry" ]; then
  while IFS= read -r file; do say "would install $prefix/$file"; done <"$work/files"
  exit 0
fi
# Each file is replaced atomically: a running program keeps its own file.
while IFS= read -r file; do
  case $file in bin/*) mode=0755 ;; *) mode=0644 ;; esac
  mkdir -p "$prefix/${file%/*}"
  cp "$file" "$prefix/$file.new"
  chmod "$mode" "$prefix/$file.new"
  mv -f "$prefix/$file.new" "$prefix/$file"
done <"$work/files"
version=$("$prefix/bin/miosa-env" --version) || fail 1 "it is installed in $prefix, but miosa-env doesn't run here"
say "installed $version in $prefix"
