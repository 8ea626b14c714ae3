#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Frames a second of aihybridenc's presets and of aihybriddec at 1280x720 with svtav1enc.
#   scripts/hybrid-speed.sh FOLDER     of clips; those of at least this size are taken
# Three rounds, each preset once a round, the median of each clip. AIVIDEO_ROUNDS=1 for one.
set -eu
cd "$(dirname "$0")/.."
. ./env.sh
export SVT_LOG=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
frames=90
caps="video/x-raw,format=I420,width=1280,height=720,framerate=30/1"
for clip in "${1:?give a folder of clips}"/*.mp4 "$1"/*/*.mp4; do
  [ -r "$clip" ] || continue
  bytes=$("$AIVIDEO_FFMPEG" -v error -i "$clip" -map 0:v:0 -frames:v $frames -vf "crop=min(iw\,1280):min(ih\,720)" \
    -f rawvideo -pix_fmt yuv420p -y "$work/clip.i420" && wc -c <"$work/clip.i420")
  [ "$bytes" = $((frames * 1382400)) ] || continue
  name=$(basename "$clip")
  source="filesrc location=$work/clip.i420 ! rawvideoparse format=i420 width=1280 height=720 framerate=30/1 ! $caps"
  # Seconds for a pipeline, less those that reading the clip takes.
  seconds() {
    begin=$(date +%s%N)
    # shellcheck disable=SC2086
    gst-launch-1.0 -q -e $1 >"$work/err" 2>&1 || { cat "$work/err" >&2; exit 1; }
    echo $((($(date +%s%N) - begin) / 1000))
  }
  round=0
  while [ $round -lt "${AIVIDEO_ROUNDS:-3}" ]; do
    round=$((round + 1))
    for latency in low-delay balanced file; do
      us=$(seconds "$source ! aihybridenc base=av1 latency=$latency quality=30 ! matroskamux ! filesink location=$work/$latency.mkv")
      echo "$name $latency encode $((frames * 1000000000 / us))"
    done
    us=$(seconds "filesrc location=$work/file.mkv ! matroskademux ! aihybriddec ! fakesink sync=false")
    echo "$name file decode+restore $((frames * 1000000000 / us))"
  done
done | sort -k1,3 -k4n | awk '
  { key = $1 " " $2 " " $3; if (key != last && last) print_it(); last = key; value[++n] = $4 }
  function print_it() { printf "%-45s %-10s %6.1f frames/s\n", last, "", value[int((n + 1) / 2)] / 1000; n = 0 }
  END { if (last) print_it() }'
