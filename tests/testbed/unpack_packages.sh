#!/usr/bin/env bash
# unpack_packages.sh PREFIX SUITE PACKAGE...: packages of another Debian release, unpacked into PREFIX/root
# and not installed: nothing of the machine changes.
set -euo pipefail

prefix=$1 suite=$2
packages=("${@:3}")
mirror=$(awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/debian.sources)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
apt=$prefix/apt
mkdir -p "$apt"/{lists/partial,cache,parts,debs} "$prefix/root"
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
rm -rf "$apt"
