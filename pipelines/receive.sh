#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Receives, classifies, enhances and writes an MP4; Ctrl-C ends it: pipelines/receive.sh OUT.mp4 [port]
set -eu
[ $# -ge 1 ] || { sed -n 3p "$0" | cut -c3- >&2; exit 2; }
exec gst-launch-1.0 -e -m udpsrc port="${2:-5004}" buffer-size=2000000 \
  ! application/x-rtp,media=video,clock-rate=90000,encoding-name=X-AICODEC,payload=96 \
  ! queue max-size-buffers=0 max-size-bytes=0 max-size-time=0 \
  ! rtpjitterbuffer mode=none ! rtpaicodecdepay ! aicodecdec ! vjepa2classify \
  ! aienhance operations=denoise,upscale \
  ! videoconvert ! x264enc speed-preset=veryfast ! h264parse ! mp4mux ! filesink location="$1"
