#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Serves a clip, or a test picture, at rtsp://127.0.0.1:PORT/live: pipelines/rtsp-serve.sh [FILE] [port] [quality 0-63]
set -eu
exec cargo run --release -q -p aivideo-rtp --example rtsp-server -- "$@"
