#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Before and after of aienhance's operations: a contact sheet and a short clip of each, for the docs.
#   scripts/enhance-sheet.sh [CLIP [FOLDER]]     the clip of `make demo` into docs/images
# Left is before, right is after; each row of the sheet is an operation, in the order below.
# START=seconds and FRAMES=number choose the part of the clip; DETECT=FILE[:sidecar=FILE] takes another model to
# find objects. The plugins must be built.
set -euo pipefail
cd "$(dirname "$0")/.."
. ./env.sh
clip=${1:-${AIVIDEO_CLIPS:?run make bootstrap: it fetches clips}/bikes.mp4} out=${2:-docs/images}
ffmpeg=${AIVIDEO_FFMPEG:?run make bootstrap: it fetches ffmpeg}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
W=480 H=272 N=${FRAMES:-50}
sheet=()

# What the clip is to look like before, at the size of the halves, in $work/before.i420.
before() { # filter [size]
  local size=${2:-${W}x$H}
  "$ffmpeg" -v error -y -ss "${START:-${at:-7}}" -i "$clip" -vf "fps=25,scale=$W:$H:force_original_aspect_ratio=increase:flags=lanczos,crop=$W:$H,setsar=1,$1,scale=${size/x/:}:flags=lanczos" \
    -frames:v "$N" -f rawvideo -pix_fmt yuv420p "$work/before.i420"
}
# The elements on $work/before.i420 of a size, to a file.
run() { # size file elements...
  local size=$1 file=$2
  shift 2
  gst-launch-1.0 -q filesrc location="$work/before.i420" \
    ! rawvideoparse format=i420 width="${size%x*}" height="${size#*x}" framerate=25/1 \
    ! capssetter caps=video/x-raw,colorimetry=bt709 ! "$@" ! filesink location="$work/$file"
}
pair() { # name filter operations [size of before]
  local size=${4:-${W}x$H}
  before "$2" "$size"
  run "$size" after.i420 aienhance operations="$3" ! video/x-raw,format=I420,width=$W,height=$H
  beside "$1" "$size"
}
# Both files beside each other: a moving pair, and a row of the sheet.
beside() { # name size of before
  local name=$1 size=$2
  local raw=(-f rawvideo -pix_fmt yuv420p -r 25)
  local input=("${raw[@]}" -s "$size" -i "$work/before.i420" "${raw[@]}" -s "${W}x$H" -i "$work/after.i420")
  # A wide picture is enlarged as a player would.
  local both="[0]scale=$W:$H:flags=bicubic[a];[a][1]hstack"
  "$ffmpeg" -v error -y "${input[@]}" -lavfi "$both" -c:v libx264 -preset slow -crf "${CRF:-26}" -maxrate 1500k -bufsize 1500k -pix_fmt yuv420p \
    -movflags +faststart "$out/enhance-$name.mp4"
  # Shake does not show in one picture: the mean of eight is blurred by it.
  local still="select=eq(n\,$((N / 2)))"
  [ "$name" != stabilize ] || still="tmix=frames=8,$still"
  "$ffmpeg" -v error -y "${input[@]}" -lavfi "$both,$still" -frames:v 1 "$work/$name.png"
  sheet+=(-i "$work/$name.png")
}

pair denoise "noise=alls=22:allf=t" "denoise"
pair upscale "null" "upscale" "$((W / 2))x$((H / 2))"
pair color "eq=gamma=0.65:contrast=0.75:saturation=0.6,colorchannelmixer=rr=1.1:bb=0.8" "color:look=1:white-balance=0.8:contrast=0.3"
pair stabilize "crop=iw-32:ih-32:16+7*sin(n*1.3)+6*sin(n*2.9):16+6*sin(n*1.7)+6*sin(n*3.3),scale=$W:$H" "stabilize"
# What a screen without HDR makes of PQ, and the same brought back. The clip's own light is SDR's.
before "null"
pq=(aienhance operations=hdr:to=pq ! video/x-raw,format=I420_10LE,width=$W,height=$H)
run ${W}x$H after.i420 "${pq[@]}" ! aienhance operations=hdr:to=sdr ! video/x-raw,format=I420
run ${W}x$H pq.i420_10 "${pq[@]}"
"$ffmpeg" -v error -y -f rawvideo -pix_fmt yuv420p10le -s ${W}x$H -i "$work/pq.i420_10" -f rawvideo -pix_fmt yuv420p "$work/before.i420"
beside hdr ${W}x$H
# People and bicycles are at another place of the clip.
at=4 before "null"
run ${W}x$H after.i420 aienhance operations="detect:model=${DETECT:-models/enhance/detect.onnx}" ! aioverlay ! video/x-raw,format=I420
beside detect ${W}x$H
count=$((${#sheet[@]} / 2))
inputs=$(for i in $(seq 0 $((count - 1))); do printf '[%d]' "$i"; done)
"$ffmpeg" -v error -y "${sheet[@]}" -lavfi "${inputs}vstack=inputs=$count" -q:v 4 "$out/enhance-sheet.jpg"
ls -l "$out"/enhance-*
