#!/usr/bin/env bash
# install_docker.sh PREFIX: a Docker Engine with compose, buildx and a registry, unpacked into PREFIX.
#
# For Debian 12 as root. Debian 12's own packages have no compose plugin: these are Debian 13's,
# unpacked and not installed, so that nothing of the machine changes but a few small tools
# from its own release.
set -euo pipefail

prefix=$(realpath -m "${1:?usage: install_docker.sh PREFIX}")
here=$(dirname "${BASH_SOURCE[0]}")
suite=trixie
packages=(docker.io containerd docker-cli docker-compose docker-buildx docker-registry)
tools=(iptables runc tini slirp4netns mmdebstrap iproute2 curl)

apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${tools[@]}" >/dev/null

if [ "$(cat "$prefix/installed" 2>/dev/null)" = "${packages[*]}" ]; then
  exit 0
fi
"$here/unpack_packages.sh" "$prefix" "$suite" "${packages[@]}"
mkdir -p "$prefix/config/cli-plugins"
ln -sf /usr/bin/tini-static "$prefix/root/usr/bin/docker-init"
ln -sf "$prefix"/root/usr/libexec/docker/cli-plugins/* "$prefix/config/cli-plugins/"
echo "${packages[*]}" >"$prefix/installed"
