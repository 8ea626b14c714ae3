#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# pipelines/enhance-file.sh: pictures that flash as the sound beeps still do so afterwards, whatever
# looks ahead; a file without sound goes through; what cannot be is said.
set -u
cd "$(dirname "$0")/../.."
. ./env.sh
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
fail() { echo "enhance-file: $1" >&2; [ -f "$out/err" ] && tail -n 15 "$out/err" >&2; exit 1; }

"$AIVIDEO_FFMPEG" -v error -y \
  -f lavfi -i "color=c=black:s=320x240:r=25:d=6,drawbox=c=white:t=fill:enable='lt(mod(t,1),0.2)*gt(t,0.5)'" \
  -f lavfi -i "aevalsrc='0.3*sin(2*PI*1000*t)*lt(mod(t,1),0.2)*gt(t,0.5)':s=44100:d=6" \
  -c:v mjpeg -q:v 3 -c:a pcm_s16le "$out/in.mkv" 2>"$out/err" || fail "no test clip"

# Moments at which pictures turn white and the sound begins, in milliseconds, a pair a line.
moments() {
  "$AIVIDEO_FFMPEG" -v error -i "$1" -map 0:v -vf "scale=1:1,format=gray" -fps_mode cfr -r 25 -f rawvideo - | od -An -v -tu1 -w1 \
    | awk '{ on = $1 > 128; if (on && !was) print (NR - 1) * 40; was = on }' >"$out/seen"
  "$AIVIDEO_FFMPEG" -v error -i "$1" -map 0:a -af "aresample=8000:async=1:first_pts=0" -ac 1 -f s16le - | od -An -v -td2 -w2 \
    | awk '{ v = $1 < 0 ? -$1 : $1; if (v > 1500) { if (NR - last > 2400) print (NR - 1) / 8; last = NR } }' >"$out/heard"
  paste "$out/seen" "$out/heard"
}

AIVIDEO_SOUND="denoise=0 target-loudness=-20" timeout 120 pipelines/enhance-file.sh "$out/in.mkv" "$out/out.mkv" "stabilize:look-ahead=30,color" >"$out/err" 2>&1 \
  || fail "the pipeline ended with $?"
moments "$out/out.mkv" >"$out/pairs"
awk 'NF != 2 || $2 - $1 > 45 || $1 - $2 > 45 { bad = 1 } END { exit bad || NR != 5 }' "$out/pairs" \
  || { cat "$out/pairs" >&2; fail "five flashes and beeps within 45 ms of one another were to come"; }

"$AIVIDEO_FFMPEG" -v error -y -i "$out/in.mkv" -map 0:v -c copy "$out/mute.mkv"
timeout 120 pipelines/enhance-file.sh "$out/mute.mkv" "$out/mute-out.mkv" color >"$out/err" 2>&1 || fail "without sound: exit code $?"
"$AIVIDEO_FFMPEG" -v error -i "$out/mute-out.mkv" -map 0:v -f null - || fail "without sound: cannot be decoded"

rm -f "$out/err"
pipelines/enhance-file.sh /nowhere.mkv "$out/x.mkv" 2>&1 | grep -q 'cannot read /nowhere.mkv' || fail "a missing file is not named"
pipelines/enhance-file.sh "$out/in.mkv" "$out/x.avi" 2>&1 | grep -q 'must end in .mkv' || fail "an AVI is taken"
pipelines/enhance-file.sh "$out/in.mkv" "$out/x.mkv" sing 2>&1 | grep -q 'sing' || fail "an unknown operation is not named"
awk '{ d = $2 - $1; if (d < 0) d = -d; if (d > most) most = d } END { print "picture and sound at most " most " ms apart" }' "$out/pairs"
