#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `aivideo rd` and `aivideo compare` on a few frames of real clips: reports, resuming, and what goes wrong.
set -eu
cd "$(dirname "$0")/../.."
. ./env.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
aivideo=target/release/aivideo

# fails NAME WORDS ARGUMENTS...: must fail with one message that has these words.
fails() {
  name=$1 words=$2
  shift 2
  if "$aivideo" "$@" >"$folder/stdout" 2>"$folder/stderr"; then
    echo "$name: accepted" >&2
    exit 1
  fi
  grep -q "$words" "$folder/stderr" || { echo "$name: no '$words' in:" >&2; cat "$folder/stderr" >&2; exit 1; }
  if grep -q panicked "$folder/stderr"; then echo "$name: a panic" >&2; exit 1; fi
}

fails "no clips" "no clips: name files" rd --out "$folder/out"
fails "no such folder" "no such file or folder: $folder/gone" rd --data "$folder/gone" --out "$folder/out"
mkdir "$folder/empty"
fails "an empty folder" "no clip in" rd --data "$folder/empty" --out "$folder/out"
(
  export AIVIDEO_FFMPEG="$folder/none" AIVIDEO_ROOT="$folder"
  fails "no ffmpeg" "no ffmpeg" rd --data "${AIVIDEO_CLIPS:-$folder/empty}" --out "$folder/out"
)
if [ ! -x "${AIVIDEO_FFMPEG:-}" ] || [ ! -f "${AIVIDEO_CLIPS:-}/bikes.mp4" ]; then
  echo "SKIP: no ffmpeg or no clips (make bootstrap fetches them)" >&2
  exit 0
fi
fails "unknown codec" 'no codec "x266"; there are aicodec' rd --codecs x266 "$AIVIDEO_CLIPS/bikes.mp4" --out "$folder/out"
fails "unknown property" 'no property "speed"' rd --codecs aicodec:speed=1 "$AIVIDEO_CLIPS/bikes.mp4" --out "$folder/out"

mkdir "$folder/data"
ln -s "$AIVIDEO_CLIPS/bikes.mp4" "$folder/data/"
"$AIVIDEO_FFMPEG" -v error -i "$AIVIDEO_CLIPS/bikes.mp4" -frames:v 3 "$folder/short.mkv"
head -c 3000 /dev/urandom >"$folder/noise.mp4"
run() {
  "$aivideo" rd --data "$folder/data" --out "$folder/out" --frames 8 --size 160x96 --points 3 \
    --codecs aicodec,x265-ultrafast-zl,svtav1-p8-ld,vvenc-faster "$@" >"$folder/stdout" 2>"$folder/stderr"
}

# A killed run leaves whole cells behind, and the next one makes only the rest.
(exec "$aivideo" rd --data "$folder/data" --out "$folder/out" --frames 8 --size 160x96 --points 3 \
  --codecs aicodec,x265-ultrafast-zl,svtav1-p8-ld,vvenc-faster >"$folder/stdout" 2>"$folder/stderr") & pid=$!
count() { find "$folder/out/cells" -name '*.json' 2>/dev/null | wc -l; }
tries=0
while [ "$(count)" -lt 2 ] && [ "$tries" -lt 600 ]; do sleep 0.1; tries=$((tries + 1)); done
kill -9 "$pid" 2>/dev/null || true
wait "$pid" 2>/dev/null || true
kept=$(count)
[ "$kept" -ge 2 ] || { echo "the killed run kept $kept cells" >&2; cat "$folder/stderr" >&2; exit 1; }
run || { cat "$folder/stderr" >&2; exit 1; }
grep -q "^$kept of 12 encodes are finished" "$folder/stdout" || { echo "not resumed from $kept:" >&2; cat "$folder/stdout" >&2; exit 1; }
for file in report.html results.json points.csv bd.csv; do
  [ -s "$folder/out/$file" ] || { echo "no $file" >&2; exit 1; }
done
python3 - "$folder/out" <<'PYTHON'
import csv, json, re, sys
out = sys.argv[1]
results = json.load(open(out + "/results.json"))
cells = results["points_of_curves"]
codecs = {c["codec"] for c in cells}
assert codecs == {"aicodec", "x265-ultrafast-zl", "svtav1-p8-ld", "vvenc-faster"}, codecs
for codec in codecs:
    curve = sorted((c["kbps"], c["psnr_y"]) for c in cells if c["codec"] == codec)
    assert len(curve) >= 3 and curve[0][1] < curve[-1][1], (codec, curve)
for c in cells:
    assert c["bytes"] > 0 and 15 < c["psnr_y"] < 60 and 0 < c["ssim"] <= 1 and 0 <= c["vmaf"] <= 100, c
    assert abs(c["psnr_y"] - c["psnr_y_mse"]) < 2, c
assert len(list(csv.DictReader(open(out + "/points.csv")))) == len(cells)
assert len(list(csv.DictReader(open(out + "/bd.csv")))) == 3 * 4
page = open(out + "/report.html").read()
assert page.count("<svg viewBox=\"0 0 470") == 3 and "data:image/jpeg" in page
# Letters of a picture's bytes are words by chance.
page = re.sub("base64,[A-Za-z0-9+/=]*", "", page)
assert "src=\"http" not in page and "href=\"http" not in page and "NaN" not in page
PYTHON

# All done: nothing is encoded again. Clips that fail are named, and the others go on.
before=$(cat "$folder"/out/cells/*.json | sha256sum)
if run "$folder/noise.mp4" "$folder/short.mkv"; then echo "failed clips were not told" >&2; exit 1; fi
grep -q "failed: noise.mp4: ffmpeg cannot read it" "$folder/stderr" || { cat "$folder/stderr" >&2; exit 1; }
grep -q "failed: short.mkv: too short: 3 frames" "$folder/stderr" || { cat "$folder/stderr" >&2; exit 1; }
grep -q "^12 of 12 encodes are finished" "$folder/stdout" || { cat "$folder/stdout" >&2; exit 1; }
[ "$before" = "$(cat "$folder"/out/cells/*.json | sha256sum)" ] || { echo "cells were made anew" >&2; exit 1; }

# compare: a fixed quality, one found for its rate, and files.
clip=$AIVIDEO_CLIPS/bikes.mp4
"$aivideo" compare --reference "$clip" --frames 8 --size 160x96 --out "$folder/cmp" \
  aicodec:quality=30 x265-medium >"$folder/stdout" 2>"$folder/stderr" || { cat "$folder/stderr" >&2; exit 1; }
python3 - "$folder/cmp/results.json" <<'PYTHON'
import json, sys
one, two = json.load(open(sys.argv[1]))["encodes"]
assert abs(two["kbps"] / one["kbps"] - 1) < 0.1, (one["kbps"], two["kbps"])
PYTHON
"$aivideo" compare --reference "$clip" --frames 8 --size 160x96 --out "$folder/cmp2" \
  "$folder/cmp/A-aicodec.aic" "$folder/cmp/B-x265-medium.hevc" >"$folder/stdout" 2>"$folder/stderr" || { cat "$folder/stderr" >&2; exit 1; }
python3 - "$folder" <<'PYTHON'
import json, sys
made, given = (json.load(open(f"{sys.argv[1]}/{d}/results.json"))["encodes"] for d in ("cmp", "cmp2"))
for a, b in zip(made, given):
    # The same stream, encoded here and read back from its file.
    assert a["bytes"] == b["bytes"] and abs(a["psnr_y"] - b["psnr_y"]) < 0.01, (a, b)
PYTHON
fails "a missing file" "no such file: $folder/gone.mp4" compare --reference "$clip" --out "$folder/cmp" aicodec "$folder/gone.mp4"
