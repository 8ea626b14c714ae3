#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Links the built plugins into target/gstreamer-1.0, the directory that env.sh announces.
set -eu
cd "$(dirname "$0")/.."
mkdir -p target/gstreamer-1.0
for name in "$@"; do
  library=target/release/libgst$name.so
  if [ ! -f "$library" ]; then
    echo "link-plugins: $library was not built" >&2
    exit 1
  fi
  link=target/gstreamer-1.0/libgst$name.so
  [ "$(readlink "$link" 2>/dev/null || true)" = "../release/libgst$name.so" ] ||
    ln -sfn "../release/libgst$name.so" "$link"
done
