#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compresses a clip into an .aic file: pipelines/encode.sh IN.mp4 OUT.aic [quality 0-63]
set -eu
[ $# -ge 2 ] || { sed -n 3p "$0" | cut -c3- >&2; exit 2; }
[ -r "$1" ] || { echo "encode: cannot read $1" >&2; exit 1; }
exec gst-launch-1.0 -e filesrc location="$1" ! decodebin ! videoconvert ! video/x-raw,format=I420 \
  ! aicodecenc quality="${3:-32}" ! filesink location="$2"
