#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the plugins with the feature `analytics` and tests it. Called by `make test-analytics`.
set -eu
cd "$(dirname "$0")/.."

if ! pkg-config --atleast-version=1.24 gstreamer-1.0; then
  echo "test-analytics: GStreamer $(pkg-config --modversion gstreamer-1.0) is here, 1.24 is needed: tests/debian13-analytics.sh makes a Debian 13" >&2
  exit 1
fi
if ! pkg-config --exists gstreamer-analytics-1.0; then
  echo "test-analytics: installing libgstreamer-plugins-bad1.0-dev"
  root=
  [ "$(id -u)" = 0 ] || root=sudo
  $root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 install \
    --no-install-recommends libgstreamer-plugins-bad1.0-dev >/dev/null
fi
echo "test-analytics: GStreamer $(pkg-config --modversion gstreamer-1.0), gst-analytics $(pkg-config --modversion gstreamer-analytics-1.0)"

# A folder of its own: the usual build must stay loadable on older GStreamers.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target/analytics}"
cargo test --release -p aivideo-meta -p aivideo-classify --features aivideo-meta/analytics
cargo build --release -p gst-plugin-aivideo -p gst-plugin-aimeta \
  --features gst-plugin-aivideo/analytics,gst-plugin-aimeta/analytics

plugins=$CARGO_TARGET_DIR/plugins
mkdir -p "$plugins"
for name in aivideo aimeta; do
  ln -sfn "../release/libgst$name.so" "$plugins/libgst$name.so"
  # The feature is in: the library is needed.
  objdump -p "$CARGO_TARGET_DIR/release/libgst$name.so" 2>/dev/null | grep -q libgstanalytics ||
    readelf -d "$CARGO_TARGET_DIR/release/libgst$name.so" | grep -q libgstanalytics ||
    { echo "test-analytics: libgst$name.so does not use libgstanalytics" >&2; exit 1; }
done
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
export GST_PLUGIN_PATH="$PWD/$plugins" GST_REGISTRY="$out/registry.bin"
gst-launch-1.0 -q filesrc location="${AIVIDEO_DEPS:-.deps}/clips/bikes.mp4" ! decodebin ! videoconvert \
  ! vjepa2classify sync=true ! aioverlay ! aimetaconvert ! filesink location="$out/lines"
lines=$(wc -l <"$out/lines")
twice=$(grep -c '},{"clip_end"' "$out/lines" || true)
[ "$lines" -ge 5 ] && [ "$twice" = 0 ] ||
  { echo "test-analytics: $lines lines, $twice with a result twice" >&2; head -n 2 "$out/lines" >&2; exit 1; }
echo "test-analytics: passed; a clip gave $lines lines of JSON, none with a result twice"
