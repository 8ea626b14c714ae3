#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# RTSP in, RTSP out with labels in the picture: pipelines/classify-rtsp.sh [rtsp://camera] [port of the output (8555)]
# Without a camera it starts one of its own; prints the address to look at; end with Ctrl-C.
set -eu
. "$(dirname "$0")/cameras.sh"
case ${1:-} in -h | --help) sed -n '3,4p' "$0" | cut -c3-; exit ;; esac
url=${1:-}
[ -n "$url" ] || cameras 1
program=$(cameras_program) || exit 1
set -- "$program" serve --count 0 --port "${2:-8555}" --mount "/live=( rtspsrc location=$url protocols=tcp latency=100 \
  ! application/x-rtp,media=video ! decodebin ! videoconvert ! vjepa2classify ! aioverlay ! videoconvert \
  ! video/x-raw,format=I420 ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=50 \
  ! video/x-h264,profile=baseline ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
if [ -n "${AIVIDEO_SECONDS:-}" ]; then
  timeout --foreground -k 20 "$AIVIDEO_SECONDS" "$@" || [ $? -eq 124 ]
else
  "$@"
fi
