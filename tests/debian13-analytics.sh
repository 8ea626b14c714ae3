#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds and tests the feature `analytics` in a bare Debian 13 (GStreamer 1.26), which it makes with
# debootstrap. Takes the options of tests/clean-root.sh, such as --mirror, --rust and --keep.
#
#   sudo tests/debian13-analytics.sh
set -eu
exec "$(dirname "$0")/clean-root.sh" --suite trixie --run test-analytics "$@"
