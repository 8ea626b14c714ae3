#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The README's element table against what the built plugins really register, and the
# documentation of each of them.
set -eu
cd "$(dirname "$0")/../.."
. ./env.sh

documented() {
  sed -n '/<!-- elements:/,/<!-- end of elements -->/p' README.md |
    sed -n 's/^| `\([a-z0-9]*\)` | `\([a-z]*\)` |.*/\2 \1/p' | sort
}

registered() {
  for plugin in aivideo aitransport aifx aimeta; do
    # "  name: Long name"; typefinders are "  name: extensions" and have no Klass.
    gst-inspect-1.0 "target/gstreamer-1.0/libgst$plugin.so" |
      sed -n '/^  [a-z0-9]*: [A-Za-z]/p' | sed 's/^  \([a-z0-9]*\):.*/\1/' |
      while read -r name; do
        if gst-inspect-1.0 "$name" | grep -q '^  Klass '; then echo "$plugin $name"; fi
      done
  done | sort
}

documented >target/readme-elements.documented
registered >target/readme-elements.registered
if ! diff target/readme-elements.documented target/readme-elements.registered; then
  echo "README.md's element table (<) is not what the plugins register (>)" >&2
  exit 1
fi
[ -s target/readme-elements.registered ] || { echo "no element is registered" >&2; exit 1; }

while read -r plugin name; do
  text=$(gst-inspect-1.0 "$name")
  for field in "Long-name" "Klass" "Description" "Author"; do
    value=$(printf '%s\n' "$text" | sed -n "s/^  $field *//p" | head -n 1)
    [ -n "$value" ] || { echo "gst-inspect-1.0 $name: $field is empty" >&2; exit 1; }
  done
done <target/readme-elements.registered
echo "$(wc -l <target/readme-elements.registered) elements, as in the README"
