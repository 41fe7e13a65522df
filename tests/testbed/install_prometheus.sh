#!/usr/bin/env bash
# install_prometheus.sh PREFIX: Debian's Prometheus, unpacked into PREFIX and not installed: no service
# starts. PREFIX is what the tests take as PROMETHEUS_HOME.
set -euo pipefail

prefix=$(realpath -m "${1:?usage: install_prometheus.sh PREFIX}")
if [ -e "$prefix/installed" ]; then
  exit 0
fi
mkdir -p "$prefix/debs"
apt-get update -qq
(cd "$prefix/debs" && apt-get -qq -o APT::Sandbox::User=root download prometheus)
dpkg -x "$prefix"/debs/prometheus_*.deb "$prefix/root"
ln -sfn root/usr/bin "$prefix/bin"
rm -rf "$prefix/debs"
touch "$prefix/installed"
