#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `aivideo doctor`: healthy here, and says what is wrong where something is.
set -u
cd "$(dirname "$0")/../.."
. ./env.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0

# doctor NAME STATUS TEXT VARIABLES-AND-ARGUMENTS...: exit status and a text of its output.
doctor() {
  name=$1 status=$2 text=$3
  shift 3
  timeout 120 env "$@" >"$folder/out" 2>&1
  code=$?
  if [ "$code" -ne "$status" ]; then
    echo "doctor: $name: exit status $code, not $status"; cat "$folder/out"; failed=1
  elif ! grep -qF -- "$text" "$folder/out"; then
    echo "doctor: $name: does not say \"$text\""; cat "$folder/out"; failed=1
  else
    echo "doctor: $name ... ok"
  fi
}

program=target/release/aivideo
doctor "this machine" 0 "Everything that is needed works" "$program" doctor
for element in aicodecenc aicodecdec vjepa2classify aienhance airestore; do
  doctor "$element" 0 "$element: runs on c" "$program" doctor
done
doctor "a library that is none" 1 "/nonsense/libonnxruntime.so (ORT_DYLIB_PATH)" \
  ORT_DYLIB_PATH=/nonsense/libonnxruntime.so "$program" doctor
doctor "the cure for it" 1 "pip install" ORT_DYLIB_PATH=/nonsense/libonnxruntime.so "$program" doctor
doctor "an unknown device" 1 "'gpu'" "$program" doctor --device gpu
if [ -e /dev/nvidiactl ]; then
  echo "SKIP: device=cuda without a GPU: this machine has one"
else
  doctor "no GPU" 1 "libcuda.so.1" "$program" doctor --device cuda
fi
if GST_PLUGIN_PATH= GST_REGISTRY="$folder/system.bin" gst-inspect-1.0 --exists aicodecenc; then
  echo "SKIP: no plugins: the suite is installed on this machine"
else
  doctor "no plugins" 1 "the plugin aivideo is not known to GStreamer" \
    GST_PLUGIN_PATH="$folder" GST_REGISTRY="$folder/none.bin" "$program" doctor
fi

# For programs: JSON on standard output and nothing else, whether well or not.
for library in "$ORT_DYLIB_PATH" /nonsense/libonnxruntime.so; do
  ORT_DYLIB_PATH=$library "$program" doctor --json >"$folder/json" 2>"$folder/err"
  python3 - "$folder/json" "$?" <<'PY' || failed=1
import json, sys
report = json.load(open(sys.argv[1]))
status = int(sys.argv[2])
levels = [verdict["level"] for verdict in report["verdicts"]]
assert report["ok"] == (status == 0) == ("error" not in levels), (report["ok"], status, levels)
assert status in (0, 1)
assert {element["name"] for element in report["findings"]["elements"]} >= {"aicodecenc", "vjepa2classify"}
for verdict in report["verdicts"]:
    if verdict["level"] in ("error", "warning") and "does not start with" not in verdict["what"]:
        assert verdict.get("cure") or "without ONNX Runtime" in verdict["what"], verdict
PY
done
exit "$failed"
