#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Enhances the pictures and the sound of a file, in step, to H.264 and Opus: pipelines/enhance-file.sh IN OUT.mkv [operations]
# Speech is freed of noise and brought to -16 LUFS; for music AIVIDEO_SOUND="denoise=0 target-loudness=-16".
set -eu
[ $# -eq 2 ] || [ $# -eq 3 ] || { sed -n 3p "$0" | cut -c3- >&2; exit 2; }
[ -r "$1" ] || { echo "enhance-file: cannot read $1" >&2; exit 1; }
case $2 in *.mkv) ;; *) echo "enhance-file: $2 must end in .mkv: Matroska is what is written" >&2; exit 2 ;; esac
operations=${3:-denoise,color}
# Whether a first buffer of the kind can be had.
has() { timeout 60 gst-launch-1.0 -q filesrc location="$1" ! decodebin ! "$2" ! fakesink num-buffers=1 >/dev/null 2>&1; }
has "$1" video/x-raw || { echo "enhance-file: $1 has no pictures that can be decoded" >&2; exit 1; }
# Operations that look ahead hold pictures back: the queues are long enough for the sound meanwhile.
queue="queue max-size-time=10000000000 max-size-buffers=0 max-size-bytes=0"
set -- "$1" "$2" filesrc location="$1" ! decodebin name=d \
  matroskamux name=m ! filesink location="$2" \
  d. ! $queue ! video/x-raw ! videoconvert ! aienhance operations="$operations" ! videoconvert \
  ! x264enc pass=quant quantizer=20 speed-preset=veryfast ! h264parse ! $queue ! m.
if has "$1" audio/x-raw; then
  # shellcheck disable=SC2086 # properties, one a word
  set -- "$@" d. ! $queue ! audio/x-raw ! audioconvert ! audioresample \
    ! aiaudioenhance ${AIVIDEO_SOUND:-target-loudness=-16} ! audioconvert ! audioresample ! opusenc ! $queue ! m.
else
  echo "enhance-file: $1 has no sound that can be decoded: only pictures are written" >&2
fi
shift 2
exec gst-launch-1.0 -q "$@"
