# SPDX-License-Identifier: Apache-2.0
# Makes the built elements visible to any GStreamer program of this shell:
#
#   . ./env.sh
#   gst-inspect-1.0 aicodecenc
#
# bash and zsh find this file wherever they are; other shells must be in its directory.

if [ -n "${BASH_SOURCE:-}" ]; then
  eval '_aivideo_file=${BASH_SOURCE[0]}'
elif [ -n "${ZSH_VERSION:-}" ]; then
  eval '_aivideo_file=${(%):-%x}'
else
  _aivideo_file=./env.sh
fi
_aivideo_root=$(CDPATH= cd -- "$(dirname -- "$_aivideo_file")" && pwd)
if [ ! -f "$_aivideo_root/scripts/bootstrap.sh" ]; then
  echo "env.sh: $_aivideo_root is not the project's directory; cd there first, or use bash" >&2
  unset _aivideo_file _aivideo_root
  return 1 2>/dev/null || exit 1
fi
_aivideo_deps=${AIVIDEO_DEPS:-$_aivideo_root/.deps}

export AIVIDEO_ROOT="$_aivideo_root"

# Links to the plugins live alone in this directory: GStreamer scans a plugin path
# recursively, and target/release holds thousands of files.
_aivideo_plugins=$_aivideo_root/target/gstreamer-1.0
case ":${GST_PLUGIN_PATH:-}:" in
  *":$_aivideo_plugins:"*) ;;
  *) export GST_PLUGIN_PATH="$_aivideo_plugins${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}" ;;
esac

# Presets of the elements, for programs that load them by name.
export GST_PRESET_PATH="${GST_PRESET_PATH:-$_aivideo_root/plugins/fx/presets:$_aivideo_root/plugins/aivideo/presets}"

# A registry of its own, so that the one of the desktop is not rewritten back and forth.
export GST_REGISTRY="${GST_REGISTRY:-$_aivideo_root/target/gst-registry.bin}"

if [ -z "${ORT_DYLIB_PATH:-}" ] && [ -f "$_aivideo_deps/onnxruntime/libonnxruntime.so" ]; then
  export ORT_DYLIB_PATH="$_aivideo_deps/onnxruntime/libonnxruntime.so"
fi
if [ -z "${AIVIDEO_NVRTC:-}" ] && [ -f "$_aivideo_deps/nvrtc/libnvrtc.so.13" ]; then
  export AIVIDEO_NVRTC="$_aivideo_deps/nvrtc/libnvrtc.so.13"
fi
if [ -z "${AIVIDEO_FFMPEG:-}" ] && [ -x "$_aivideo_deps/ffmpeg/ffmpeg" ]; then
  export AIVIDEO_FFMPEG="$_aivideo_deps/ffmpeg/ffmpeg"
fi
if [ -z "${AIVIDEO_CLIPS:-}" ] && [ -d "$_aivideo_deps/clips" ]; then
  export AIVIDEO_CLIPS="$_aivideo_deps/clips"
fi

# The Rust that the bootstrap chose or installed.
if [ -f "$_aivideo_deps/cargo-bin" ]; then
  _aivideo_cargo=$(cat "$_aivideo_deps/cargo-bin")
  case ":$PATH:" in
    *":$_aivideo_cargo:"*) ;;
    *) export PATH="$_aivideo_cargo:$PATH" ;;
  esac
  _aivideo_toolchain=$(cat "$_aivideo_deps/rustup-toolchain" 2>/dev/null)
  [ -z "$_aivideo_toolchain" ] || export RUSTUP_TOOLCHAIN="$_aivideo_toolchain"
fi
unset _aivideo_file _aivideo_root _aivideo_deps _aivideo_plugins _aivideo_cargo _aivideo_toolchain
