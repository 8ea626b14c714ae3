#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `aivideo bench gpu`: a clear error without a GPU, and a rehearsal on the CPU from end to end.
set -u
cd "$(dirname "$0")/../.."
. ./env.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0
program=target/release/aivideo

if [ -e /dev/nvidiactl ]; then
  echo "SKIP: bench gpu without a GPU: this machine has one"
else
  "$program" bench gpu >"$folder/out" 2>&1
  code=$?
  if [ "$code" -ne 1 ] || ! grep -q 'no GPU: .*libcuda.so.1' "$folder/out"; then
    echo "bench gpu without a GPU: exit status $code"; cat "$folder/out"; failed=1
  fi
fi
if "$program" bench gpu --device gpu >"$folder/out" 2>&1 || ! grep -q "'gpu' is not known" "$folder/out"; then
  echo "bench gpu takes an unknown device"; cat "$folder/out"; failed=1
fi

if "$program" bench gpu --device cpu --sizes 360p --frames 32 --rounds 1 --runs 3 \
    --json "$folder/report.json" >"$folder/out" 2>&1 &&
    grep -q '^\*\*REHEARSAL ON THE CPU' "$folder/out"; then
  python3 - "$folder/report.json" <<'PY' || failed=1
import json, sys
report = json.load(open(sys.argv[1]))
assert report["rehearsal_on_cpu"] and report["card"] is None
(size,) = report["sizes"]
elements = {e["name"]: e for e in size["elements"]}
assert len(elements) == 8, sorted(elements)
for name, element in elements.items():
    assert element["fps"] > 0 and element["latency_ms"]["p50"] > 0, element
    assert element["card"] is None
    assert all(device.startswith("cpu") for device in element["devices"]), element
# The denoiser takes and gives a picture of 4:2:0 (and two numbers) a frame.
bytes = elements["aienhance denoise"]["host_tensor_bytes_per_frame"]
assert bytes >= 2 * 640 * 360 * 1.5, bytes
assert elements["fxfilter posterize (CPU)"]["host_tensor_bytes_per_frame"] == 0
assert len(size["models"]) == 8 and len(size["kernels"]) == 26
for model in size["models"]:
    assert model["device"] == "cpu" and model["overhead"] > -0.9, model
    assert model["bare_ms"]["p50"] > 0 and model["torch_ms"] is None, model
assert all(kernel["equals_reference"] is None for kernel in size["kernels"])
print(f"rehearsal: {len(elements)} elements, {len(size['models'])} models, {len(size['kernels'])} kernels")
PY
else
  echo "the rehearsal failed"; cat "$folder/out"; failed=1
fi
exit "$failed"
