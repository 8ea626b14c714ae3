#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The classifier's results as a program in Python sees them.
set -eu
cd "$(dirname "$0")/../.."
. ./env.sh
for python in python3 /usr/bin/python3; do
  if "$python" -c 'import gi; gi.require_version("Gst", "1.0"); from gi.repository import Gst' 2>/dev/null; then
    exec "$python" -W ignore tests/metas.py "${AIVIDEO_DEPS:-.deps}/clips/bikes.mp4"
  fi
done
echo "SKIP: PyGObject is not installed (python3-gi, gir1.2-gstreamer-1.0)"
