#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Four cameras, one model, clips of all in one batch; a line of JSON a result: pipelines/classify-batch4.sh [URL URL URL URL]
# Without cameras it starts four of its own; end with Ctrl-C.
set -eu
. "$(dirname "$0")/cameras.sh"
case ${1:-} in -h | --help) sed -n '3,4p' "$0" | cut -c3-; exit ;; esac
if [ $# -eq 0 ]; then
  cameras 4
  set -- "$url" "${url%0}1" "${url%0}2" "${url%0}3"
fi
[ $# -eq 4 ] || { echo "classify-batch4: four addresses, please; $# are given" >&2; exit 2; }
one=$1 two=$2 three=$3 four=$4
set --
for camera in "$one" "$two" "$three" "$four"; do
  set -- "$@" rtspsrc location="$camera" protocols=tcp latency=200 ! application/x-rtp,media=video \
    ! decodebin ! videoconvert ! vjepa2classify model-instance-id=four batch-size=4 batch-timeout=100000 top-k=3 \
    ! aimetaconvert source="$camera" ! application/x-json ! aimetapublish ! fakesink sync=false
done
launch -q "$@"
