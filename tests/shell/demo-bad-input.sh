#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The demo with clips it cannot use: one clear message each, and nothing left behind.
set -eu
cd "$(dirname "$0")/../.."
. ./env.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# refused NAME WORDS ARGUMENTS...: the demo must fail, name the cure's subject and write nothing.
refused() {
  name=$1 words=$2
  shift 2
  if target/release/aivideo demo --out "$folder/out" "$@" >"$folder/stdout" 2>"$folder/stderr"; then
    echo "$name: the demo accepted it" >&2
    exit 1
  fi
  grep -q "$words" "$folder/stderr" || { echo "$name: no '$words' in:" >&2; cat "$folder/stderr" >&2; exit 1; }
  lines=$(grep -c 'aivideo: error' "$folder/stderr")
  [ "$lines" = 1 ] || { echo "$name: $lines error messages instead of one" >&2; cat "$folder/stderr" >&2; exit 1; }
  if grep -q panicked "$folder/stderr"; then echo "$name: a panic" >&2; exit 1; fi
  [ ! -e "$folder/out" ] || { echo "$name: left $(ls -a "$folder/out")" >&2; exit 1; }
}

refused "missing clip" "nowhere.mp4" --video "$folder/nowhere.mp4"
refused "a directory" "not a file" --video "$folder"
: >"$folder/empty.mp4"
refused "empty clip" "empty.mp4" --video "$folder/empty.mp4"
head -c 65536 /dev/urandom >"$folder/random.mp4"
refused "random bytes" "random.mp4" --video "$folder/random.mp4"
head -c 3000 "$AIVIDEO_CLIPS/bikes.mp4" >"$folder/truncated.mp4"
refused "truncated clip" "truncated.mp4" --video "$folder/truncated.mp4"
gst-launch-1.0 -q audiotestsrc num-buffers=20 ! wavenc ! filesink location="$folder/sound.wav"
refused "sound without pictures" "sound.wav" --video "$folder/sound.wav"

# A machine where the plugins were not built, or env.sh not sourced.
(
  export GST_PLUGIN_PATH="$folder/none" GST_REGISTRY="$folder/registry.bin"
  refused "no plugins" "does not find: aicodecenc" --video "$AIVIDEO_CLIPS/bikes.mp4"
)
