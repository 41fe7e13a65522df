#!/usr/bin/env bash
# install_apptainer.sh PREFIX: Apptainer, unpacked into PREFIX; put PREFIX/root/usr/bin on the PATH.
#
# For Debian 12 as root, which has no package of it. This is Debian unstable's with the C library that it
# wants, unpacked and not installed: its programs are told where that library is.
set -euo pipefail

prefix=$(realpath -m "${1:?usage: install_apptainer.sh PREFIX}")
here=$(dirname "${BASH_SOURCE[0]}")

apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  patchelf squashfs-tools squashfuse >/dev/null

if [ -e "$prefix/installed" ]; then
  exit 0
fi
"$here/unpack_packages.sh" "$prefix" sid apptainer libc6
library=$prefix/root/usr/lib/x86_64-linux-gnu
for program in "$prefix/root/usr/bin/apptainer" "$library/apptainer/bin/starter"; do
  patchelf --set-interpreter "$library/ld-linux-x86-64.so.2" \
    --set-rpath "$library:/usr/lib/x86_64-linux-gnu" "$program"
done
# Apptainer finds its settings and its mount points relative to itself.
ln -sfn ../etc "$prefix/root/usr/etc"
ln -sfn ../../etc "$prefix/root/usr/lib/etc"
mkdir -p "$prefix"/root/usr/{lib/var,var}/lib/apptainer/mnt/session
# Not every machine lets root keep all its capabilities.
sed -i 's/^root default capabilities = full/root default capabilities = no/' \
  "$prefix/root/etc/apptainer/apptainer.conf"
touch "$prefix/installed"
