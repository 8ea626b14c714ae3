#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The scripts of pipelines/ that classify: each runs for some seconds against cameras that it starts
# itself, and what it says is looked at.
set -u
cd "$(dirname "$0")/../.."
. ./env.sh
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
failed=

fail() {
  echo "classify-$1: $2" >&2
  tail -n 15 "$out/$1.err" >&2
  failed="$failed $1"
}

# A camera takes seconds to start and a clip takes 1.3 s; a busy machine gets more time.
for seconds in 6 40; do
  AIVIDEO_SECONDS=$seconds pipelines/classify-camera.sh "" fakesink >"$out/camera" 2>"$out/camera.err"
  code=$?
  grep -q 'vjepa2classify, .*labels=' "$out/camera" && break
done
[ $code -eq 0 ] && grep -q 'vjepa2classify, .*labels=' "$out/camera" || fail camera "exit code $code, $(grep -c vjepa2classify "$out/camera") results"

for seconds in 8 40; do
  AIVIDEO_SECONDS=$seconds pipelines/classify-batch4.sh >"$out/batch4" 2>"$out/batch4.err"
  code=$?
  sources=$(grep -o '"source":"[^"]*/camera[0-3]"' "$out/batch4" | sort -u | wc -l)
  [ "$sources" -eq 4 ] && break
done
[ $code -eq 0 ] && [ "$sources" -eq 4 ] || fail batch4 "exit code $code, results of $sources cameras"

pipelines/classify-file.sh "${AIVIDEO_DEPS:-.deps}/clips/bikes.mp4" "$out/file" 2>"$out/file.err"
code=$?
[ $code -eq 0 ] && [ "$(grep -c '"predictions":' "$out/file")" -ge 5 ] || fail file "exit code $code"

# RTSP out: another program receives pictures from it.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# A session of its own, so that it can be ended as Ctrl-C does it: with all that it started.
AIVIDEO_SECONDS=90 setsid pipelines/classify-rtsp.sh "" "$port" >"$out/rtsp" 2>"$out/rtsp.err" &
script=$!
tries=0
until grep -q '^rtsp://' "$out/rtsp" || [ $tries -gt 300 ]; do
  tries=$((tries + 1))
  sleep 0.1
done
if ! timeout 60 gst-launch-1.0 -q rtspsrc location="rtsp://127.0.0.1:$port/live" protocols=tcp latency=100 \
  ! rtph264depay ! h264parse ! avdec_h264 ! identity eos-after=40 ! fakesink sync=false >"$out/watch" 2>&1; then
  cat "$out/watch" >>"$out/rtsp.err"
  fail rtsp "nothing to see at its output"
fi
kill -s TERM -- "-$script" 2>/dev/null
wait "$script" 2>/dev/null

# What cannot be is said.
pipelines/classify-file.sh /nowhere.mp4 "$out/x" 2>&1 | grep -q 'cannot read /nowhere.mp4' || fail file "a missing file is not named"
pipelines/classify-batch4.sh rtsp://a rtsp://b 2>&1 | grep -q '2 are given' || fail batch4 "two addresses are taken"

[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
echo "camera, batch of 4 ($(wc -l <"$out/batch4") lines), file, RTSP in and out: as they should be"
