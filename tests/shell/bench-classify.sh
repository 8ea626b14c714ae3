#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `aivideo bench classify`: a clear error without a GPU, and the part of the large model on the CPU with a small one.
set -u
cd "$(dirname "$0")/../.."
. ./env.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0
program=target/release/aivideo
model=elements/classify/tests/data/tiny-vjepa2.onnx

if [ -e /dev/nvidiactl ]; then
  echo "SKIP: bench classify without a GPU: this machine has one"
else
  for device in cuda tensorrt:1; do
    "$program" bench classify --device "$device" --model "$model" >"$folder/out" 2>&1
    code=$?
    if [ "$code" -ne 1 ] || ! grep -q 'no GPU: .*libcuda.so.1' "$folder/out"; then
      echo "bench classify --device $device without a GPU: exit status $code"; cat "$folder/out"; failed=1
    fi
  done
fi
if "$program" bench classify --device gpu >"$folder/out" 2>&1 || ! grep -q "'gpu' is not known" "$folder/out"; then
  echo "bench classify takes an unknown device"; cat "$folder/out"; failed=1
fi

if "$program" bench classify --only large --model "$model" --rounds 1 --runs 3 \
    --json "$folder/report.json" >"$folder/out" 2>&1 &&
    grep -q 'on the CPU (no figure is one of a GPU)' "$folder/out"; then
  python3 - "$folder/report.json" <<'PY' || failed=1
import json, sys
large = json.load(open(sys.argv[1]))["large"]
assert large["on_cpu"] and large["card"] is None and large["clips"] == 3 and not large["missing"], large
names = [side["name"] for side in large["sides"]]
assert names == ["vjepa2classify given model", "engine given model", "bare call given model"], names
for side in large["sides"]:
    assert 0 < side["ms"]["p50"] <= side["ms"]["p99"] and side["compared"] is None, side
print("bench classify: " + ", ".join(f"{s['name']} {s['ms']['p50']:.2f} ms" for s in large["sides"]))
PY
else
  echo "bench classify on the CPU failed"; cat "$folder/out"; failed=1
fi
exit "$failed"
