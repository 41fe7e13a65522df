#!/usr/bin/env bash
# install_docker.sh PREFIX: a Docker Engine with compose and buildx, unpacked into PREFIX.
#
# For Debian 12 as root. Debian 12's own packages have no compose plugin: these are Debian 13's,
# unpacked and not installed, so that nothing of the machine changes but a few small tools
# from its own release.
set -euo pipefail

prefix=$(realpath -m "${1:?usage: install_docker.sh PREFIX}")
suite=trixie
packages=(docker.io containerd docker-cli docker-compose docker-buildx)
tools=(iptables runc tini slirp4netns mmdebstrap iproute2 curl)

apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${tools[@]}" >/dev/null

if [ -e "$prefix/installed" ]; then
  exit 0
fi
mirror=$(awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/debian.sources)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
apt=$prefix/apt
mkdir -p "$apt"/{lists/partial,cache,parts,debs} "$prefix/root" "$prefix/config/cli-plugins"
echo "deb [signed-by=$keyring] $mirror $suite main" >"$apt/sources.list"
options=(
  -qq
  -o "Dir::Etc::sourcelist=$apt/sources.list"
  -o "Dir::Etc::sourceparts=$apt/parts"
  -o "Dir::Etc::preferencesparts=$apt/parts"
  -o "Dir::State::lists=$apt/lists"
  -o "Dir::Cache=$apt/cache"
  -o APT::Sandbox::User=root
)
apt-get "${options[@]}" update
(cd "$apt/debs" && apt-get "${options[@]}" download "${packages[@]/%//$suite}")
for package in "$apt"/debs/*.deb; do
  dpkg -x "$package" "$prefix/root"
done
ln -sf /usr/bin/tini-static "$prefix/root/usr/bin/docker-init"
ln -sf "$prefix"/root/usr/libexec/docker/cli-plugins/* "$prefix/config/cli-plugins/"
rm -rf "$apt"
touch "$prefix/installed"
