#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Says what a camera sees, and shows it with labels: pipelines/classify-camera.sh [rtsp://… or /dev/video0] [sink]
# Without a camera it starts one of its own; end with Ctrl-C.
set -eu
. "$(dirname "$0")/cameras.sh"
case ${1:-} in -h | --help) sed -n '3,4p' "$0" | cut -c3-; exit ;; esac
url=${1:-} sink=${2:-autovideosink}
[ -n "$url" ] || cameras 1
case $url in
  rtsp*) set -- rtspsrc location="$url" protocols=tcp latency=200 ! application/x-rtp,media=video ;;
  *) [ -r "$url" ] || { echo "classify-camera: cannot read $url" >&2; exit 1; }
     set -- v4l2src device="$url" ;;
esac
launch -m "$@" ! decodebin ! videoconvert ! vjepa2classify top-k=3 ! aioverlay ! videoconvert ! "$sink"
