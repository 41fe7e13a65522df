#!/usr/bin/env bash
# install_browser.sh: Chromium, to look at reports and the Ray dashboard with. Debian's; playwright's own is not needed.
set -euo pipefail

if ! command -v chromium >/dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
fi
