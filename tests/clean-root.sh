#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Proof of the README's two commands on a machine with nothing on it: makes a Debian (or
# Ubuntu) root with only git, make and certificates, clones this repository into it, and runs
# `make demo` and `make test` there. Needs root, debootstrap and the network.
#
#   sudo tests/clean-root.sh [options]
#     --suite NAME       bookworm (default), trixie, noble ...
#     --mirror URL       package mirror (default: the suite's own)
#     --run "TARGETS"    make targets, in order (default: "demo test")
#     --rust DIR         use this Rust toolchain (a sysroot with bin/cargo) instead of letting
#                        the bootstrap call rustup; it is mounted read-only at /opt/rust
#     --pass-env NAME    hand this environment variable on; may be repeated. Variables named
#                        PIP_*, *_proxy and *_PROXY are always handed on
#     --mount DIR        mount this folder read-only at /mnt/data
#     --no-check-gpg     do not verify the mirror's signature (where its key is not installed)
#     --dir DIR          where to make the root (default: a new directory below /var/tmp)
#     --keep             leave the root in place afterwards
#
# This machine's own certificates (/usr/local/share/ca-certificates), pip configuration and
# cargo configuration are copied in, so that it works behind a company's proxy too.
set -eu

suite=bookworm mirror= targets="demo test" rust= pass= data= gpg= dir= keep=0
while [ $# -gt 0 ]; do
  case $1 in
    --suite) suite=$2; shift ;;
    --mirror) mirror=$2; shift ;;
    --run) targets=$2; shift ;;
    --rust) rust=$2; shift ;;
    --pass-env) pass="$pass $2"; shift ;;
    --mount) data=$2; shift ;;
    --no-check-gpg) gpg=--no-check-gpg ;;
    --dir) dir=$2; shift ;;
    --keep) keep=1 ;;
    *) sed -n '3,23p' "$0" | cut -c3-; exit 2 ;;
  esac
  shift
done

[ "$(id -u)" = 0 ] || { echo "clean-root: run this as root (debootstrap and chroot need it)" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "clean-root: debootstrap is missing (apt-get install debootstrap)" >&2; exit 1; }
repo=$(cd "$(dirname "$0")/.." && pwd)

# Everything below runs in a mount and process namespace of its own: whatever is mounted or
# left running in the root vanishes with it.
if [ "${AIVIDEO_CLEAN_ROOT_INNER:-0}" != 1 ]; then
  [ -n "$dir" ] || dir=$(mktemp -d "/var/tmp/aivideo-$suite-XXXXXX")
  components=main script=
  case $suite in
    noble|jammy|questing|plucky) components=main,universe; : "${mirror:=http://archive.ubuntu.com/ubuntu}" ;;
    *) : "${mirror:=http://deb.debian.org/debian}" ;;
  esac
  echo "clean-root: making a $suite root in $dir from $mirror"
  # A debootstrap older than the suite has no script for it; the one all of the family use does.
  scripts=/usr/share/debootstrap/scripts
  if [ ! -e "$scripts/$suite" ]; then
    case $components in *universe) script=$scripts/gutsy ;; *) script=$scripts/sid ;; esac
  fi
  # shellcheck disable=SC2086
  debootstrap $gpg --variant=minbase --components=$components \
    --include=git,make,ca-certificates "$suite" "$dir" "$mirror" $script >"$dir.log" 2>&1 ||
    { tail -n 20 "$dir.log" >&2; echo "clean-root: debootstrap failed, see $dir.log" >&2; exit 1; }
  status=0
  AIVIDEO_CLEAN_ROOT_INNER=1 unshare --mount --pid --fork --kill-child \
    "$0" --suite "$suite" --dir "$dir" --run "$targets" ${rust:+--rust "$rust"} ${data:+--mount "$data"} \
    $(for name in $pass; do printf -- '--pass-env %s ' "$name"; done) || status=$?
  if [ "$keep" = 1 ]; then
    echo "clean-root: the root stays in $dir"
  else
    rm -rf --one-file-system "$dir" "$dir.log"
  fi
  exit "$status"
fi

mount --make-rprivate /
mount -t proc proc "$dir/proc"
mount --rbind /dev "$dir/dev"
# What is thrown away afterwards need not survive a power failure: packages unpack faster.
echo force-unsafe-io >"$dir/etc/dpkg/dpkg.cfg.d/aivideo-unsafe-io"
cp /etc/resolv.conf "$dir/etc/resolv.conf"
cp /etc/hosts "$dir/etc/hosts"

if ls /usr/local/share/ca-certificates/*.crt >/dev/null 2>&1; then
  cp /usr/local/share/ca-certificates/*.crt "$dir/usr/local/share/ca-certificates/"
  chroot "$dir" update-ca-certificates >/dev/null
fi
for file in /etc/pip.conf "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf"; do
  if [ -f "$file" ]; then cp "$file" "$dir/etc/pip.conf"; fi
done
if [ -f "${CARGO_HOME:-$HOME/.cargo}/config.toml" ]; then
  mkdir -p "$dir/root/.cargo"
  cp "${CARGO_HOME:-$HOME/.cargo}/config.toml" "$dir/root/.cargo/"
fi
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
if [ -n "$rust" ]; then
  [ -x "$rust/bin/cargo" ] || { echo "clean-root: $rust has no bin/cargo" >&2; exit 1; }
  mkdir -p "$dir/opt/rust"
  mount --bind "$rust" "$dir/opt/rust"
  mount -o remount,bind,ro "$dir/opt/rust"
  path=/opt/rust/bin:$path
fi
if [ -n "$data" ]; then
  mkdir -p "$dir/mnt/data"
  mount --bind "$data" "$dir/mnt/data"
  mount -o remount,bind,ro "$dir/mnt/data"
fi

set -- HOME=/root PATH=$path LANG=C.UTF-8 TERM=dumb
for name in $pass $(env | sed -n 's/^\(PIP_[A-Z_]*\|[a-z]*_proxy\|[A-Z]*_PROXY\)=.*/\1/p'); do
  eval "value=\${$name-}"
  set -- "$@" "$name=$value"
done

git clone -q --no-hardlinks "file://$repo" "$dir/root/gst-aivideo"
echo "clean-root: $(grep PRETTY_NAME "$dir/etc/os-release"), $(nproc) cores, commit $(git -C "$dir/root/gst-aivideo" rev-parse --short HEAD)"
echo "clean-root: programs in the root: $(chroot "$dir" sh -c 'for p in git make cc python3 curl cargo gst-launch-1.0; do command -v $p || echo "no $p"; done' | tr '\n' ' ')"
for target in $targets; do
  echo "clean-root: make $target"
  start=$(date +%s)
  chroot "$dir" env -i "$@" sh -c "cd /root/gst-aivideo && make $target" ||
    { echo "clean-root: make $target FAILED after $(($(date +%s) - start)) s"; exit 1; }
  echo "clean-root: make $target passed in $(($(date +%s) - start)) s"
done
left=$(git -C "$dir/root/gst-aivideo" status --porcelain)
[ -z "$left" ] || { echo "clean-root: files that git does not know were left behind: $left"; exit 1; }
