#!/usr/bin/env bash
# base_image.sh NAME: imports a stand-in for the base image NAME into the engine that `docker` reaches.
#
# No image can be pulled where the tests run. The stand-in is a minimal Debian of the machine's own
# release with what an image of Ubuntu 24.04 has too: apt, certificates, and a user with id 1000.
set -euo pipefail

name=${1:?usage: base_image.sh NAME}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# shellcheck source=/dev/null
. /etc/os-release
mirror=$(awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/debian.sources)

# What this machine's pip needs to reach its package index, and no more.
{
  echo "[global]"
  echo "cert = /etc/ssl/certs/ca-certificates.crt"
  index=$("${PYTHON:-python3}" -m pip config get global.index-url 2>/dev/null || true)
  if [ -n "$index" ]; then echo "index-url = $index"; fi
} >"$folder/pip.conf"

# shellcheck disable=SC2016  # mmdebstrap's shell fills in $1, the new system's root
mmdebstrap --quiet --variant=minbase --include=ca-certificates \
  --customize-hook='useradd --root "$1" --uid 1000 --create-home ubuntu' \
  --customize-hook='mkdir -p "$1/usr/local/share/ca-certificates"' \
  --customize-hook='cp /usr/local/share/ca-certificates/*.crt "$1/usr/local/share/ca-certificates/" 2>/dev/null || true' \
  --customize-hook='chroot "$1" update-ca-certificates >/dev/null' \
  --customize-hook="copy-in '$folder/pip.conf' /etc" \
  "$VERSION_CODENAME" "$folder/base.tar" "$mirror"
docker import --message "stand-in for tests" "$folder/base.tar" "$name" >/dev/null
