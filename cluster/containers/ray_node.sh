#!/usr/bin/env bash
# ray_node.sh head | worker: the main process of a container that is a node of the Ray cluster.
#
# RAY_AUTH_TOKEN_PATH   the cluster's token, in a volume that all nodes share; the head makes it
# RAY_HEAD_ADDRESS      where a worker finds the head (default ray-head:6379)
# NUM_CPUS              what the node offers (default: what it has)
# RESULTS_FOLDER        where runs are kept (default /workspace/results)
#
# TERM (docker compose down, docker stop) first asks the runs that were submitted to save their state.
set -euo pipefail

readonly SAVE_S=90 log=/tmp/ray_start.log
token=${RAY_AUTH_TOKEN_PATH:?ray_node.sh: RAY_AUTH_TOKEN_PATH is not set}

# A mistake that a restart does not mend: said once. Ending with 0 keeps the restart policy from
# repeating it; the container is not healthy, so `up` fails all the same.
refuse() {
  echo "error: $*" >&2
  exit 0
}

check_results() {
  local results=${RESULTS_FOLDER:-/workspace/results}
  if ! mkdir -p "$results" 2>/dev/null || [ ! -w "$results" ]; then
    refuse "$results cannot be written by user $(id -u), so no run could be kept." \
      "On the host, in the repository, type: make up"
  fi
}

wait_for_token() {
  for _ in {1..120}; do
    if [ -r "$token" ]; then return; fi
    sleep 0.5
  done
  echo "error: no token at $token that user $(id -u) can read after 60 s: is ray-head running?" >&2
  exit 1
}

# Nine tenths of /dev/shm, at most 30 % of the memory that this container may use.
shared_memory() {
  python3 - <<'PYTHON'
import shutil
from pathlib import Path

limit = Path("/sys/fs/cgroup/memory.max")
text = limit.read_text().strip() if limit.exists() else "max"
total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
memory = min(total, int(text)) if text.isdigit() else total
print(int(min(0.9 * shutil.disk_usage("/dev/shm").total, 0.3 * memory)))
PYTHON
}

# The kernel shows its drivers to every container, also to one that was given no GPU.
tell_about_gpu() {
  if [ -e "${NVIDIA_DRIVER:-/proc/driver/nvidia/version}" ] && ! nvidia-smi >/dev/null 2>&1; then
    echo "note: this machine has a GPU, but the cluster runs on CPU. To use it type: make down up" \
      "(or set COMPOSE_FILE=docker-compose.yml:docker-compose.gpu.yml in .env)"
  fi
}

# shellcheck disable=SC2329  # the trap calls it
save_runs() {
  local pids
  pids=$(pgrep -f '^[^ ]*python[0-9.]* -m empo_rllib\.' || true)
  if [ -z "$pids" ]; then return; fi
  echo "stopping: runs are saved first (at most $SAVE_S s)"
  # shellcheck disable=SC2086  # one argument for each process
  kill -TERM $pids 2>/dev/null || true # a job has SIGINT blocked
  for ((i = 0; i < SAVE_S * 5; i++)); do
    # shellcheck disable=SC2086
    kill -0 $pids 2>/dev/null || return 0
    sleep 0.2
  done
}

# shellcheck disable=SC2329  # the trap calls it
stop() {
  trap '' TERM INT
  save_runs
  kill -TERM "$ray" 2>/dev/null || true
  wait "$ray" || true
  exit 0
}

role=${1:-}
# Ray takes 30 % of the memory, and /tmp when /dev/shm is smaller than that.
options=(--block --disable-usage-stats "--object-store-memory=$(shared_memory)")
if [ -n "${NUM_CPUS:-}" ]; then options+=("--num-cpus=$NUM_CPUS"); fi
case $role in
  head)
    check_results
    cluster/containers/make_token.sh || exit 0 # it has said why; see refuse
    tell_about_gpu
    # 0.0.0.0 is the container's network; compose publishes the port on the host's loopback only.
    options+=(--head --port=6379 --dashboard-host=0.0.0.0 --dashboard-port=8265)
    options+=(--ray-client-server-port=10001)
    echo "head: starting; the dashboard will be at port 8265 (make dashboard says how to log in)"
    ;;
  worker)
    wait_for_token
    options+=("--address=${RAY_HEAD_ADDRESS:-ray-head:6379}")
    echo "worker: joining ${RAY_HEAD_ADDRESS:-ray-head:6379}"
    ;;
  *)
    refuse "ray_node.sh: $role is no role. Roles: head, worker"
    ;;
esac

# What Ray prints is for those who start it by hand; it is shown when the start fails.
ray start "${options[@]}" >"$log" 2>&1 &
ray=$!
trap stop TERM INT
status=0
wait "$ray" || status=$?
echo "error: Ray ended with exit code $status. Its last lines:" >&2
tail -n 20 "$log" >&2
exit "$status"
