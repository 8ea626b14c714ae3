#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Sends a clip as RTP over UDP: pipelines/send.sh IN.mp4 [host] [port] [quality 0-63]
set -eu
[ $# -ge 1 ] || { sed -n 3p "$0" | cut -c3- >&2; exit 2; }
[ -r "$1" ] || { echo "send: cannot read $1" >&2; exit 1; }
exec gst-launch-1.0 -e filesrc location="$1" ! decodebin ! videoconvert ! video/x-raw,format=I420 \
  ! aicodecenc quality="${4:-32}" tile-rows=2 ! rtpaicodecpay ! udpsink host="${2:-127.0.0.1}" port="${3:-5004}"
