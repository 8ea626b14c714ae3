#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Before and after of aienhance's operations: moving pictures and a contact sheet for the docs.
#   scripts/enhance-sheet.sh CLIP OUT-FOLDER
# Left is before, right is after; each row of the sheet is an operation.
set -euo pipefail
cd "$(dirname "$0")/.."
. ./env.sh
clip=${1:?give a clip} out=${2:?give a folder for the pictures}
ffmpeg=${AIVIDEO_FFMPEG:?run make bootstrap: it fetches ffmpeg}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
W=480 H=272 N=${FRAMES:-36}

raw() { # size filter file: frames of the clip, spoiled
  "$ffmpeg" -v error -y -ss "${START:-0}" -i "$clip" -vf "scale=$1:flags=lanczos,setsar=1,$2" -frames:v "$N" \
    -f rawvideo -pix_fmt yuv420p "$3"
}
enhance() { # width height in out operations
  gst-launch-1.0 -q filesrc location="$3" ! rawvideoparse format=i420 width="$1" height="$2" framerate=25/1 \
    ! capssetter caps=video/x-raw,colorimetry=bt709 ! aienhance operations="$5" ! video/x-raw,format=I420 ! filesink location="$4"
}
pair() { # name filter-of-before operations [size]
  local size=${4:-${W}x$H}
  raw "${size/x/:}" "$2" "$work/before.i420"
  enhance "${size%x*}" "${size#*x}" "$work/before.i420" "$work/after.i420" "$3"
  local left="[0]scale=$W:$H:flags=bicubic[a]"
  local in=(-f rawvideo -pix_fmt yuv420p -r 25)
  "$ffmpeg" -v error -y "${in[@]}" -s "$size" -i "$work/before.i420" "${in[@]}" -s "${W}x$H" -i "$work/after.i420" \
    -lavfi "$left;[a][1]hstack" -c:v libwebp -quality 60 -loop 0 -r 12 "$out/enhance-$1.webp"
  "$ffmpeg" -v error -y "${in[@]}" -s "$size" -i "$work/before.i420" "${in[@]}" -s "${W}x$H" -i "$work/after.i420" \
    -lavfi "$left;[a][1]hstack,select=eq(n\,20)" -frames:v 1 "$work/$1.png"
  sheet+=(-i "$work/$1.png")
}
sheet=()
pair denoise "noise=alls=30:allf=t" "denoise"
pair upscale "null" "upscale" "$((W / 2))x$((H / 2))"
pair color "eq=gamma=0.65:contrast=0.75:saturation=0.6,colorchannelmixer=rr=1.1:bb=0.8" "color"
count=$((${#sheet[@]} / 2))
inputs=$(for i in $(seq 0 $((count - 1))); do printf '[%d]' "$i"; done)
"$ffmpeg" -v error -y "${sheet[@]}" -lavfi "${inputs}vstack=inputs=$count" -q:v 3 "$out/enhance-sheet.jpg"
ls -l "$out"
