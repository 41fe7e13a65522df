#!/usr/bin/env bash
# Is the Ray node of this container usable? Without one there is nothing to ask, and all is well.
# Both addresses answer without a token and tell nothing but `success`.
set -euo pipefail

ask() {
  python3 - "$1" <<'PYTHON'
import sys, urllib.request

try:
    answer = urllib.request.urlopen(sys.argv[1], timeout=4).read().decode()
except OSError as error:
    sys.exit(f"{sys.argv[1]}: {error}")
sys.exit(0 if "success" in answer else f"{sys.argv[1]}: {answer}")
PYTHON
}

if [ "${EMPO_RLLIB_NODE:-}" = "" ]; then
  exit 0
fi
ask http://127.0.0.1:52365/api/local_raylet_healthz
if [ "$EMPO_RLLIB_NODE" = head ]; then
  ask http://127.0.0.1:8265/api/gcs_healthz
fi
