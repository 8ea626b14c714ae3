#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Writes what comes over UDP to a playable file, without decoding it; Ctrl-C ends it: pipelines/record.sh OUT.aic [port]
set -eu
[ $# -ge 1 ] || { sed -n 3p "$0" | cut -c3- >&2; exit 2; }
exec gst-launch-1.0 -e udpsrc port="${2:-5004}" buffer-size=2000000 \
  ! application/x-rtp,media=video,clock-rate=90000,encoding-name=X-AICODEC,payload=96 \
  ! rtpjitterbuffer ! rtpaicodecdepay ! aicodecparse ! filesink location="$1"
