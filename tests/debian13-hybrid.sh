#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds and tests the hybrid profile in a bare Debian 13 (GStreamer 1.26), which has svtav1enc and
# which it makes with debootstrap. Takes the options of tests/clean-root.sh, such as --mirror, --rust
# and --keep.
#
#   sudo tests/debian13-hybrid.sh
#   sudo tests/debian13-hybrid.sh --data FOLDER     also rate and distortion of its clips, and speed
set -eu
if [ "${1:-}" = --data ]; then
  data=${2:?--data: which folder?}
  shift 2
  export AIVIDEO_RD_DATA=/mnt/data
  set -- --mount "$data" --pass-env AIVIDEO_RD_DATA "$@"
fi
exec "$(dirname "$0")/clean-root.sh" --suite trixie --run test-hybrid "$@"
