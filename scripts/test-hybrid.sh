#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Tests the hybrid profile with svtav1enc, which GStreamer has from 1.24 on. Called by `make test-hybrid`.
#
# With AIVIDEO_RD_DATA=FOLDER of clips, rate and distortion follow: the table of docs/hybrid.md.
set -eu
cd "$(dirname "$0")/.."

gst-inspect-1.0 --exists svtav1enc || {
  echo "test-hybrid: no svtav1enc in GStreamer $(pkg-config --modversion gstreamer-1.0): tests/debian13-hybrid.sh makes a Debian 13, which has it" >&2
  exit 1
}
svt=$(dpkg-query -W -f '${Version}' 'libsvtav1enc*' 2>/dev/null || echo "of an unknown version")
echo "test-hybrid: GStreamer $(pkg-config --modversion gstreamer-1.0), SVT-AV1 $svt"
# Its errors only: it says much else on stderr.
export SVT_LOG=1
cargo test --release -p aivideo-hybrid
[ -n "${AIVIDEO_RD_DATA:-}" ] || { echo "test-hybrid: passed"; exit 0; }

cargo build --release -p gst-plugin-aivideo -p gst-plugin-aitransport -p aivideo
scripts/link-plugins.sh aivideo aitransport
target/release/aivideo rd --preset quick --data "$AIVIDEO_RD_DATA" --no-frames --out "${AIVIDEO_RD_OUT:-target/rd-hybrid}" --codecs \
x265-ultrafast-zl,x265-medium,svtav1-p5,\
hybrid-low-delay,hybrid-low-delay:key-int-max=250,hybrid-balanced,hybrid-balanced:key-int-max=250,\
hybrid-file,hybrid-file:key-int-max=250,hybrid-file:key-int-max=250:look-ahead=2,hybrid-low-delay-plain,hybrid-file-plain:key-int-max=250
scripts/hybrid-speed.sh "$AIVIDEO_RD_DATA"
echo "test-hybrid: passed"
