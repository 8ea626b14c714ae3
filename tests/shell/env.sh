#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# env.sh: sourced from the project's directory by a POSIX shell, and from anywhere by bash.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
clean() { env -u GST_PLUGIN_PATH -u GST_REGISTRY -u ORT_DYLIB_PATH -u AIVIDEO_ROOT "$@"; }

expect() {
  if [ "$2" != "$3" ]; then
    echo "$1: expected '$3', got '$2'" >&2
    exit 1
  fi
}

plugins=$root/target/gstreamer-1.0
expect "sh in the root" "$(cd "$root" && clean sh -c '. ./env.sh; echo "$GST_PLUGIN_PATH"')" "$plugins"
expect "sourced twice" "$(cd "$root" && clean sh -c '. ./env.sh; . ./env.sh; echo "$GST_PLUGIN_PATH"')" "$plugins"
expect "a path that is already set stays" \
  "$(cd "$root" && clean GST_PLUGIN_PATH=/other sh -c '. ./env.sh; echo "$GST_PLUGIN_PATH"')" "$plugins:/other"
expect "an ORT_DYLIB_PATH that is already set stays" \
  "$(cd "$root" && clean ORT_DYLIB_PATH=/mine.so sh -c '. ./env.sh; echo "$ORT_DYLIB_PATH"')" "/mine.so"
if command -v bash >/dev/null; then
  expect "bash from elsewhere" "$(cd / && clean bash -c ". '$root/env.sh'; echo \"\$GST_PLUGIN_PATH\"")" "$plugins"
fi
if (cd / && clean sh -c ". '$root/env.sh'" 2>/dev/null); then
  # bash run as sh knows the file's place; dash does not and must say so.
  case "$(readlink -f "$(command -v sh)")" in
    *dash) echo "dash sourced env.sh from another directory without complaint" >&2; exit 1 ;;
  esac
fi
library=$(cd "$root" && clean sh -c '. ./env.sh; echo "$ORT_DYLIB_PATH"')
[ -f "$library" ] || { echo "ORT_DYLIB_PATH points at nothing: $library" >&2; exit 1; }
