#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# All tests. Called by `make test` after the build, with env.sh sourced.
# Every part runs even when an earlier one failed; the exit code tells whether all passed.
set -u
cd "$(dirname "$0")/.."
failed=

cargo test --release --workspace --no-fail-fast || failed="$failed cargo"

for script in tests/shell/*.sh; do
  echo "running $script"
  if sh "$script"; then echo "test $script ... ok"; else
    echo "test $script ... FAILED"
    failed="$failed $script"
  fi
done

if [ -n "$failed" ]; then
  echo "FAILED:$failed" >&2
  exit 1
fi
echo "all tests passed"
