#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Plays any file GStreamer can decode, .aic included: pipelines/play.sh FILE [sink]
set -eu
[ $# -ge 1 ] || { sed -n 3p "$0" | cut -c3- >&2; exit 2; }
[ -r "$1" ] || { echo "play: cannot read $1" >&2; exit 1; }
exec gst-launch-1.0 filesrc location="$1" ! decodebin ! videoconvert ! "${2:-autovideosink}"
