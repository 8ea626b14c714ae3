# SPDX-License-Identifier: Apache-2.0
# For the scripts beside it: cameras on this machine when the user gives none, and a limit of time.
# Sourced, not run. AIVIDEO_SECONDS=n ends the pipeline after n seconds; without it, Ctrl-C does.

cameras_program() {
  if [ -n "${AIVIDEO_ROOT:-}" ] && [ -x "$AIVIDEO_ROOT/target/release/aivideo-cameras" ]; then
    echo "$AIVIDEO_ROOT/target/release/aivideo-cameras"
  elif command -v aivideo-cameras >/dev/null 2>&1; then
    command -v aivideo-cameras
  else
    echo "$0: aivideo-cameras is not built: run \`make build\`, then \`. ./env.sh\`" >&2
    exit 1
  fi
}

# serve ARGUMENTS...: starts a server that ends with this script; its first address is in $url.
servers=
serve() {
  program=$(cameras_program) || exit 1
  said=$(mktemp)
  "$program" serve --port 0 "$@" >"$said" &
  servers="$servers $!"
  trap 'kill $servers 2>/dev/null; wait 2>/dev/null' EXIT
  trap 'exit 130' INT TERM
  tries=0
  until grep -q '^rtsp://' "$said"; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ] || ! kill -0 "${servers##* }" 2>/dev/null; then
      echo "$0: the cameras do not start" >&2
      rm -f "$said"
      exit 1
    fi
    sleep 0.1
  done
  url=$(head -n 1 "$said")
  rm -f "$said"
}

# cameras COUNT: that many cameras that see the sample clip, at ${url%0}0, ${url%0}1 ...
cameras() {
  clip="${AIVIDEO_CLIPS:-${AIVIDEO_DEPS:-${AIVIDEO_ROOT:-.}/.deps}/clips}/bikes.mp4"
  if [ -f "$clip" ]; then serve --count "$1" --clip "$clip"; else serve --count "$1"; fi
}

# launch ARGUMENTS...: gst-launch-1.0, until Ctrl-C or the limit.
launch() {
  if [ -n "${AIVIDEO_SECONDS:-}" ]; then
    # 124: the time is over, which is no failure here.
    timeout --foreground -s INT -k 20 "$AIVIDEO_SECONDS" gst-launch-1.0 "$@" || [ $? -eq 124 ]
  else
    gst-launch-1.0 "$@"
  fi
}
