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

keep() { # keep NAME VALUE: in .env, unless it is there
  if ! grep -q "^$1=" .env 2>/dev/null; then
    if [ -s .env ] && [ -n "$(tail -c 1 .env)" ]; then echo >>.env; fi # its last line has no end
    echo "$1=$2" >>.env
    echo "wrote to .env: $1=$2"
  fi
}

write_env() {
  local user group
  user=${SUDO_UID:-$(id -u)}
  group=${SUDO_GID:-$(id -g)}
  if [ "$user" -eq 0 ]; then # root itself: the clone's owner, or else anybody: containers are not root
    user=$(stat -c %u .)
    group=$(stat -c %g .)
  fi
  keep USER_ID "$((user > 0 ? user : 1000))"
  keep GROUP_ID "$((user > 0 ? group : 1000))"
  if ! nvidia-smi >/dev/null 2>&1; then
    return
  elif command -v nvidia-container-runtime-hook nvidia-container-runtime nvidia-ctk >/dev/null; then
    keep COMPOSE_FILE docker-compose.yml:docker-compose.gpu.yml
  else
    echo "note: this machine has a GPU, but not the NVIDIA container toolkit: the cluster runs on CPU"
  fi
}

make_results() {
  local user group
  # As compose reads it from the shell and .env.
  IFS=: read -r user group < <(docker compose config ray-head | sed -n 's/^ *user: "*\([0-9:]*\).*/\1/p')
  mkdir -p results
  if [ "$(id -u)" -eq 0 ]; then
    chown --recursive "$user:$group" results
  elif [ "$(stat -c %u results)" != "$user" ]; then
    fail "results belongs to user $(stat -c %u results), and containers run as USER_ID=$user of .env." \
      "Remove that line, or type: sudo chown --recursive $user results"
  fi
}

cluster/verify_setup.sh --containers >&2
write_env
make_results
