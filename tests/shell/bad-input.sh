#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Bad input at a gst-launch line: one clear error that names the cause, no crash, no hang.
set -u
cd "$(dirname "$0")/../.."
. ./env.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0

# refuses NAME TEXT ARGUMENTS...: gst-launch-1.0 must fail by itself and say TEXT.
refuses() {
  name=$1 text=$2
  shift 2
  # gst-launch-1.0 of GStreamer 1.22 prints a parser's "No valid frames" and then now and then stays:
  # with h264parse and a file of garbage 2 times in 53. So one that hangs is started again.
  for limit in 30 30 60; do
    timeout "$limit" gst-launch-1.0 "$@" >"$folder/out" 2>&1
    code=$?
    [ "$code" -eq 124 ] && grep -q '^ERROR' "$folder/out" || break
  done
  errors=$(grep -c '^ERROR' "$folder/out")
  # 124 is the time limit, 128 to 192 a signal; gst-launch-1.0 itself ends with 1 or 255.
  if [ "$code" -eq 0 ] || { [ "$code" -ge 124 ] && [ "$code" -le 192 ]; }; then
    echo "bad input: $name: exit code $code"; tail -n 5 "$folder/out"; failed=1
  elif ! grep -qF -- "$text" "$folder/out"; then
    echo "bad input: $name: does not say \"$text\""; tail -n 8 "$folder/out"; failed=1
  else
    echo "bad input: $name ... refused ($errors error line(s))"
  fi
}

source="videotestsrc num-buffers=20 ! video/x-raw,format=I420,width=64,height=64"
head -c 20000 /dev/urandom >"$folder/random.aic"
head -c 20000 /dev/urandom >"$folder/random.onnx"
timeout 60 gst-launch-1.0 -q $source ! aicodecenc ! filesink location="$folder/good.aic" || failed=1
head -c 25 "$folder/good.aic" >"$folder/header.aic"

for element in aicodecenc vjepa2classify "aienhance operations=denoise"; do
  refuses "$element, model missing" "$folder/none.onnx" $source ! $element model-location="$folder/none.onnx" ! fakesink
  refuses "$element, model corrupt" "$folder" $source ! $element model-location="$folder/random.onnx" ! fakesink
  refuses "$element, unknown device" "gpu" $source ! $element device=gpu ! fakesink
  [ -e /dev/nvidiactl ] ||
    refuses "$element, no GPU" "libcuda.so.1" $source ! $element device=cuda ! fakesink
done
refuses "classifier with a denoiser's model" "is not a video classifier" $source ! vjepa2classify model-location=models/enhance/denoise.onnx ! fakesink
refuses "unknown operation" "denoise" $source ! aienhance operations=magic ! fakesink
refuses "unknown effect" "posterize" $source ! fxfilter effects=magic ! fakesink
refuses "one level" "num-levels" $source ! fxfilter effects=posterize:num-levels=1 ! fakesink
refuses "a detector without a model" "model-location" $source ! aidetect ! fakesink
refuses "results to nowhere" "needs file-path" $source ! aimetapublish method=file ! fakesink
refuses "an odd broker" "not a port" $source ! aimetapublish method=mqtt address=a:b topic=c ! fakesink
refuses "tags that are none" "not JSON" $source ! aimetaconvert tags={ ! fakesink
refuses "a font that is none" "cannot be used" $source ! aioverlay font-file=README.md ! fakesink
refuses "pictures of no size" "handle caps" fakesrc num-buffers=2 ! video/x-raw,format=I420,width=0,height=0,framerate=25/1 ! aicodecenc ! fakesink
refuses "random .aic" "ERROR" filesrc location="$folder/random.aic" ! aicodecparse ! aicodecdec ! fakesink
refuses ".aic of half a header" "ERROR" filesrc location="$folder/header.aic" ! aicodecparse ! aicodecdec ! fakesink

# The plugins alone, no ONNX Runtime anywhere: they load, and say what is missing when started.
mkdir "$folder/alone"
cp target/release/libgstaivideo.so target/release/libgstaitransport.so target/release/libgstaifx.so target/release/libgstaimeta.so "$folder/alone"
export GST_PLUGIN_PATH="$folder/alone" GST_REGISTRY="$folder/registry.bin"
unset ORT_DYLIB_PATH
if ldconfig -p 2>/dev/null | grep -q libonnxruntime; then
  echo "SKIP: no library: the system has one of its own"
else
  for element in aicodecenc aicodecdec vjepa2classify aienhance aicodecparse rtpaicodecpay rtpaicodecdepay fxfilter aibackgroundblur aidetect aiscene aiaudioenhance aihybridenc aihybriddec airestore aioverlay aimetaconvert aimetapublish; do
    gst-inspect-1.0 "$element" >"$folder/out" 2>&1 || { echo "bad input: $element does not load without ONNX Runtime"; failed=1; }
  done
  for element in aicodecenc vjepa2classify "aienhance operations=denoise"; do
    refuses "$element, no ONNX Runtime" "ORT_DYLIB_PATH" $source ! $element ! fakesink
  done
  timeout 60 gst-launch-1.0 -q $source ! fxfilter effects=posterize ! fakesink ||
    { echo "bad input: fxfilter needs ONNX Runtime"; failed=1; }
fi
exit "$failed"
