#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What happens in a file, as a line of JSON a clip: pipelines/classify-file.sh IN.mp4 OUT.jsonl
set -eu
[ $# -eq 2 ] || { sed -n 3p "$0" | cut -c3- >&2; exit 2; }
[ -r "$1" ] || { echo "classify-file: cannot read $1" >&2; exit 1; }
exec gst-launch-1.0 -q filesrc location="$1" ! decodebin ! videoconvert ! vjepa2classify sync=true \
  ! aimetaconvert source="$1" ! filesink location="$2"
