#!/usr/bin/env bash
# prepare.sh: what `make up` does before the cluster is started, in the repository.
#
# Writes to .env, where they are missing: the ids of the user, so that results belong to them, and the
# compose file for GPUs where there is one. Makes the results folder. Ends with 1 and one line when
# the cluster could not start.
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() {
  echo "error: $*" >&2
  exit 1
}

setting() { # setting NAME DEFAULT: from the shell, else from .env, else the default; as compose does
  local value
  value=${!1:-$(sed -n "s/^$1=//p" .env 2>/dev/null | tail -n 1)}
  echo "${value:-$2}"
}

keep() { # keep NAME VALUE: in .env, unless it is there
  if ! grep -q "^$1=" .env 2>/dev/null; then
    echo "$1=$2" >>.env
    echo "wrote to .env: $1=$2"
  fi
}

write_env() {
  if [ "$(id -u)" -eq 0 ]; then # containers do not run as root
    keep USER_ID 1000
    keep GROUP_ID 1000
  else
    keep USER_ID "$(id -u)"
    keep GROUP_ID "$(id -g)"
  fi
  if nvidia-smi >/dev/null 2>&1; then
    keep COMPOSE_FILE docker-compose.yml:docker-compose.gpu.yml
  fi
}

make_results() {
  local user
  user=$(setting USER_ID 1000):$(setting GROUP_ID 1000)
  mkdir -p results
  if [ "$(id -u)" -eq 0 ]; then
    chown "$user" results
  elif [ "$(stat -c %u:%g results)" != "$user" ] && [ ! -w results ]; then
    fail "results belongs to $(stat -c %U results). Type: sudo chown $user results"
  fi
}

cluster/verify_setup.sh --containers >&2
write_env
make_results
