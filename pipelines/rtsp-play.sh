#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Shows an RTSP stream: pipelines/rtsp-play.sh [rtsp://host:port/live] [sink]
set -eu
exec gst-launch-1.0 rtspsrc location="${1:-rtsp://127.0.0.1:8554/live}" latency=200 ! decodebin \
  ! videoconvert ! "${2:-autovideosink}"
