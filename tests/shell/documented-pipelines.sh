#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
set -eu
cd "$(dirname "$0")/../.."
. ./env.sh
exec python3 tests/documented_pipelines.py "$@"
