#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The hybrid profile among programs that know nothing of it: its MP4 in ffmpeg, its RTSP stream in
# ffmpeg and in our decoder, other people's AV1 and H.265 files through airestore.
set -u
cd "$(dirname "$0")/../.."
. ./env.sh
out=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; wait 2>/dev/null; rm -rf "$out"' EXIT
clip="${AIVIDEO_DEPS:-.deps}/clips/bikes.mp4"
fail() { echo "hybrid-interop: $1" >&2; [ -f "$out/err" ] && tail -n 15 "$out/err" >&2; exit 1; }
# Frames and sizes that ffmpeg decodes, any complaint a failure.
decoded() {
  "$AIVIDEO_FFMPEG" -v error -xerror "$@" -f rawvideo -pix_fmt gray - 2>"$out/err" | wc -c
}
# The clip at 320x180: 57,600 bytes of luma a frame, 14,400 at half the size.
source="filesrc location=$clip ! decodebin ! videoconvert ! videoscale ! video/x-raw,format=I420,width=320,height=180"

gst-launch-1.0 -q -e filesrc location="$clip" ! decodebin ! identity eos-after=50 ! videoconvert ! videoscale \
  ! video/x-raw,format=I420,width=320,height=180 ! aihybridenc base=h265 latency=low-delay scale=1/2 quality=45 ! h265parse \
  ! mp4mux ! filesink location="$out/hybrid.mp4" >"$out/err" 2>&1 || fail "the encoder ended with $?"
bytes=$(decoded -i "$out/hybrid.mp4")
[ "$bytes" -ge $((45 * 160 * 90)) ] && [ $((bytes % 14400)) = 0 ] && [ ! -s "$out/err" ] \
  || fail "plain ffmpeg gave $bytes bytes of the MP4's small pictures"
mp4=$((bytes / 14400))

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"${AIVIDEO_ROOT:-.}/target/release/aivideo-cameras" serve --count 0 --port "$port" --mount "/hybrid=( $source \
  ! aihybridenc base=h265 latency=low-delay scale=1/2 quality=45 key-int-max=10 ! h265parse ! rtph265pay name=pay0 pt=96 config-interval=-1 )" \
  >"$out/said" 2>&1 &
server=$!
tries=0
until grep -q '^rtsp://' "$out/said"; do
  tries=$((tries + 1))
  [ $tries -le 300 ] && kill -0 $server 2>/dev/null || { cat "$out/said" >&2; fail "the RTSP server does not start"; }
  sleep 0.1
done
bytes=$(timeout 90 "$AIVIDEO_FFMPEG" -v error -rtsp_transport tcp -i "rtsp://127.0.0.1:$port/hybrid" -frames:v 20 \
  -f rawvideo -pix_fmt gray - 2>"$out/err" | wc -c)
[ "$bytes" = $((20 * 160 * 90)) ] || fail "plain ffmpeg got $bytes bytes over RTSP"
timeout 90 gst-launch-1.0 -q rtspsrc location="rtsp://127.0.0.1:$port/hybrid" protocols=tcp latency=100 ! rtph265depay \
  ! aihybriddec ! video/x-raw,width=320,height=180 ! identity eos-after=20 ! fakesink sync=false >"$out/err" 2>&1 \
  || fail "our decoder did not bring RTSP's pictures to their size"

for encoder in libx265 libsvtav1; do
  "$AIVIDEO_FFMPEG" -v error -y -i "$clip" -frames:v 24 -vf scale=328:184 -pix_fmt yuv420p -c:v $encoder -crf 40 \
    -x265-params log-level=none "$out/$encoder.mkv" 2>"$out/err" || fail "ffmpeg's $encoder"
  timeout 120 gst-launch-1.0 -q filesrc location="$out/$encoder.mkv" ! decodebin ! videoconvert ! airestore \
    ! video/x-raw,format=I420,width=328,height=184 ! filesink location="$out/$encoder.i420" >"$out/err" 2>&1 \
    || fail "airestore behind $encoder ended with $?"
  "$AIVIDEO_FFMPEG" -v error -y -i "$out/$encoder.mkv" -f rawvideo -pix_fmt yuv420p "$out/$encoder.plain"
  [ "$(wc -c <"$out/$encoder.i420")" = "$(wc -c <"$out/$encoder.plain")" ] || fail "airestore behind $encoder lost frames"
  cmp -s "$out/$encoder.i420" "$out/$encoder.plain" && fail "airestore left the pictures of $encoder as they were"
done
echo "hybrid profile: MP4 in ffmpeg ($mp4 frames), RTSP in ffmpeg and aihybriddec, H.265 and AV1 through airestore"
