#!/usr/bin/env bash
#SBATCH --job-name=empo_rllib
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
# Trains an experiment on the nodes of a SLURM job: sbatch [--nodes=N ...] cluster/ray_slurm.sh [ARGUMENTS]
#
#   --config FILE    the experiment (default tune_configs/ppo.yaml)
#   --no-container   use .venv in the place of Apptainer; the first argument, if it is given
#   ...              more arguments of `python -m empo_rllib.tune`, such as --set, --resume, --overwrite
#
# With sbatch's --array=0-3 four jobs share the trials of one search, and each is requeued by itself.
#
# Typed in the repository. The job's exit code is the experiment's. Out of time, the run is saved and the job
# requeued, and it goes on from there. docs/slurm.md tells all; cluster/slurm/site.example.sh lists the settings.
set -uo pipefail

EMPO_RLLIB_REPOSITORY=${SLURM_SUBMIT_DIR:-$PWD}
if [ -z "${SLURM_JOB_ID:-}" ]; then
  echo "error: this is a job script. Type: sbatch cluster/ray_slurm.sh $*" >&2
  exit 2
elif [ ! -e "$EMPO_RLLIB_REPOSITORY/cluster/ray_slurm.sh" ]; then
  echo "error: $EMPO_RLLIB_REPOSITORY is not the repository: type sbatch in it" >&2
  exit 2
fi
EMPO_RLLIB_CONTAINER=yes
if [ "${1:-}" = --no-container ]; then
  EMPO_RLLIB_CONTAINER=no
  shift
fi
arguments=("$@")
if [[ " $* " != *" --config"[\ =]* ]]; then arguments=(--config tune_configs/ppo.yaml "$@"); fi
EMPO_RLLIB_HEAD="" EMPO_RLLIB_HEAD_PORT="" # when they are known
export EMPO_RLLIB_REPOSITORY EMPO_RLLIB_CONTAINER EMPO_RLLIB_HEAD EMPO_RLLIB_HEAD_PORT
export WANDB_MODE=${WANDB_MODE:-offline} # compute nodes have no network

cd "$EMPO_RLLIB_REPOSITORY" || exit 2
# shellcheck source=cluster/slurm/node.sh
. cluster/slurm/node.sh

readonly max_requeues=${EMPO_RLLIB_MAX_REQUEUES:-20} start_s=${EMPO_RLLIB_START_S:-45}
restarts=${SLURM_RESTART_COUNT:-0}
# Of this job alone: one job of an array has the array's number as its own.
job=$SLURM_JOB_ID
if [ -n "${SLURM_ARRAY_JOB_ID:-}" ]; then job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID; fi
readonly job
asked=""    # the signal that asked to save and end
deadline="" # when saving must be over
workers=""  # the process that waits for them

# What happened to the job, and exit code 1.
give_up() {
  say "error: $*"
  exit 1
}

# Settings of the shell that the job was submitted from: of another cluster, or another Python.
clean_environment() {
  local name
  for name in $(compgen -e); do
    case $name in
      RAY_* | TUNE_* | PYTHON* | VIRTUAL_ENV | CONDA_* | APPTAINERENV_* | SINGULARITYENV_*) unset "$name" ;;
    esac
  done
  export PYTHONNOUSERSITE=1
}

load_modules() {
  if [ -z "${EMPO_RLLIB_MODULES:-}" ]; then return; fi
  # shellcheck disable=SC1091  # of the site
  command -v module >/dev/null || . /etc/profile.d/modules.sh 2>/dev/null || . /etc/profile.d/lmod.sh 2>/dev/null
  # shellcheck disable=SC2086  # one argument for each module
  module load $EMPO_RLLIB_MODULES || fail "EMPO_RLLIB_MODULES = $EMPO_RLLIB_MODULES cannot be loaded"
}

# use_nodes COUNT: sets `on_nodes`, what runs a command once on each of so many nodes, with all that the job has of them.
use_nodes() {
  on_nodes=(srun --quiet --overlap "--nodes=$1" "--ntasks=$1" --ntasks-per-node=1 --kill-on-bad-exit=0 --wait=0)
}

check_nodes() {
  local errors status
  use_nodes "$SLURM_JOB_NUM_NODES"
  # What srun itself says matters only where no check could run.
  { errors=$("${on_nodes[@]}" cluster/slurm/check.sh </dev/null 2>&1 >&3); } 3>&1
  status=$?
  if [ "$status" -ne 0 ] && [ "$status" -ne 2 ]; then
    sleep 2 & # srun may know before this script that the job is cancelled
    wait $!
  fi
  if [ -n "$asked" ]; then return 75; fi
  if [ "$status" -ne 0 ] && [ "$status" -ne 2 ]; then say "error: the nodes cannot be checked: $errors"; fi
  return "$status"
}

# For Ray's ports that cannot be "any free one": heads that start at the same time must not meet at the default.
free_port() {
  local port
  port=$(shuf -i 20000-32000 -n 1)
  while (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$(shuf -i 20000-32000 -n 1); done
  echo "$port"
}

# Returns 75 when the job is to end before it is there. It is not waited for longer than the experiment, which ends at
# once when there is a mistake in it.
start_head() {
  local last=$((SECONDS + start_s))
  start_ray --head --port=0 --dashboard-host=127.0.0.1 \
    "--dashboard-port=$(free_port)" "--ray-client-server-port=$(free_port)"
  until [ "$SECONDS" -ge "$last" ] || has_ended driver; do
    if [ -n "$asked" ]; then return 75; fi
    if grep -q 'Ray runtime started' "$folder/ray.log"; then
      # Ray says so before it writes this file, which is there and empty for a moment.
      EMPO_RLLIB_HEAD_PORT=$(cut -d : -f 2 "$folder/ray/ray_current_cluster" 2>/dev/null)
    fi
    if [ -n "$EMPO_RLLIB_HEAD_PORT" ]; then
      echo "$EMPO_RLLIB_HEAD:$EMPO_RLLIB_HEAD_PORT" >"$folder/address.part"
      mv "$folder/address.part" "$folder/address"
      return
    fi
    ! has_ended ray || give_up "the Ray head did not start: $(last_words)"
    sleep 0.2
  done
  has_ended driver || give_up "the Ray head did not start within $start_s s (EMPO_RLLIB_START_S): $(last_words)"
}

start_workers() {
  if [ "$SLURM_JOB_NUM_NODES" -eq 1 ]; then return; fi
  use_nodes $((SLURM_JOB_NUM_NODES - 1))
  "${on_nodes[@]}" --exclude="$node" cluster/slurm/worker.sh <"$folder/token" &
  workers=$!
}

# Beside the head: it waits for the address.
start_driver() {
  detached driver python -m empo_rllib.service.slurm_job "${arguments[@]}" \
    --address-file "$folder/address" --nodes "$SLURM_JOB_NUM_NODES" --start-s "$start_s"
}

make_token() { (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$folder/token"); }

tell_about_dashboard() {
  local port
  port=$(grep -o '127\.0\.0\.1:[0-9]*' "$folder/ray.log" | head -n 1 | cut -d : -f 2)
  if [ -z "$port" ]; then return; fi
  say "dashboard: ssh -L 8265:127.0.0.1:$port -J ${EMPO_RLLIB_LOGIN:-$SLURM_SUBMIT_HOST} $node, then http://127.0.0.1:8265"
  say "its token: srun --jobid=$job --overlap --nodes=1 --ntasks=1 -w $node cat $folder/token"
}

# Seconds until SLURM ends the job for its time limit, less what it takes to leave the nodes.
# shellcheck disable=SC2329  # the trap calls it
time_left_s() {
  local end
  end=$(date -d "$(squeue --noheader --job="$job" --format=%e)" +%s 2>/dev/null) || end=$(($(date +%s) + 60))
  echo $((end - $(date +%s) - 15))
}

# ask_to_save SIGNAL SECONDS: the experiment is told while it runs; see wait_for_driver.
# shellcheck disable=SC2329  # the traps call it
ask_to_save() {
  asked=$1
  deadline=$((SECONDS + $2))
}

# Waits for the experiment; returns its exit code, 1 when its cluster is lost, 75 when it was asked to save.
wait_for_driver() {
  while ! has_ended driver; do
    if has_ended ray; then
      give_up "the Ray head ended: $(last_words). --resume goes on from the last checkpoint"
    elif [ -n "$asked" ]; then
      if [ "$SECONDS" -ge "$deadline" ]; then
        say "not everything was saved in time: the run goes on from its last checkpoint"
        return 75
      fi
      read_pid driver
      kill -USR1 "$pid" 2>/dev/null
    elif [ -n "$workers" ] && ! kill -0 "$workers" 2>/dev/null; then
      say "no worker is left: the run goes on with $node"
      workers=""
    fi
    sleep 1 &
    wait $! # a trap runs at once
  done
  status=$(exit_code driver)
  if [ "$status" -gt 128 ] && [ -n "$asked" ]; then return 75; fi # it did not listen yet: nothing to save
  if [ "$status" -gt 128 ]; then
    say "error: the experiment was ended by signal $((status - 128)). --resume goes on from the last checkpoint"
  fi
  return "$status"
}

# Ends the head first: the workers leave when it is gone, within seconds, or 20 on a busy node. What is killed before
# it has left leaves its files behind.
# shellcheck disable=SC2329  # the trap calls it
leave_job() {
  trap '' TERM USR1
  leave_node
  for ((i = 0; i < 100; i++)); do
    if [ -z "$workers" ] || ! kill -0 "$workers" 2>/dev/null; then return; fi
    sleep 0.2
  done
  kill -KILL "$workers" # its node is dead, or SLURM ends the step
}

requeue() {
  if [ "$restarts" -ge "$max_requeues" ]; then
    say "not requeued: that was done $restarts times (EMPO_RLLIB_MAX_REQUEUES). --resume goes on"
    return
  fi
  say "requeued ($((restarts + 1)) of at most $max_requeues)" # now: SLURM ends this script at once
  scontrol requeue "$job" || say "error: SLURM does not requeue this job. --resume goes on"
}

main() {
  say "job $job on $SLURM_JOB_NODELIST: ${arguments[*]}"
  if [ "$restarts" -gt 0 ]; then say "SLURM started this job again ($restarts): it goes on from what was saved"; fi
  clean_environment
  load_modules
  check_nodes || return
  make_folder
  make_token
  EMPO_RLLIB_HEAD=$(node_address)
  start_driver
  start_head || return
  if [ -n "$EMPO_RLLIB_HEAD_PORT" ]; then
    start_workers
    tell_about_dashboard
  fi
  wait_for_driver
}

# Functions, for a trap may run while bash parses something else, and is parsed itself then.
# shellcheck disable=SC2329  # the trap calls it
on_usr1() {
  ask_to_save USR1 "$(time_left_s)"
  say "out of time: saving"
}
# shellcheck disable=SC2329  # the trap calls it
on_term() {
  ask_to_save TERM "$(grace_s)"
  say "SLURM ends this job (cancelled, preempted or a node lost): saving"
}

trap on_usr1 USR1
trap on_term TERM
trap leave_job EXIT
main
status=$?
leave_job
trap - EXIT
if [ "$status" -eq 75 ] && [ "$asked" = USR1 ]; then requeue; fi
exit "$status"
