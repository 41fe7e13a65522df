#!/usr/bin/env bash
# install_slurm.sh: SLURM's controller, node daemon and commands, and MUNGE. For Debian 12 as root.
#
# No service is started: the tests run daemons of their own in network namespaces.
set -euo pipefail

if command -v slurmctld slurmd sbatch munged >/dev/null; then
  exit 0
fi
# Debian's way to install daemons without starting them.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  iproute2 munge slurm-client slurmctld slurmd >/dev/null
