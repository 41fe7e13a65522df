# shellcheck shell=bash
# node.sh: what every node of a job does. ray_slurm.sh, check.sh and worker.sh source it; it is not run itself.
#
# SLURM sends TERM to the processes of a job that is cancelled, preempted or out of time: to these scripts, and with
# some settings (ProctrackType=proctrack/linuxproc) to all that they started too. But a run can be saved only while
# its cluster is still there, so what runs in the image is `detached` from the script that started it.

node=${SLURMD_NODENAME:?node.sh: not in a SLURM job}
repository=${EMPO_RLLIB_REPOSITORY:?node.sh: EMPO_RLLIB_REPOSITORY is not set}
image=${EMPO_RLLIB_SIF:-$repository/empo_rllib.sif}
venv=${EMPO_RLLIB_VENV:-$repository/.venv}
cache=${EMPO_RLLIB_CACHE:-$repository/.cache} # of compiled kernels, for all jobs
folder=""

say() { printf '%s %s: %s\n' "$(date +%T)" "$node" "$*"; }

# What a user has to mend: one line, and exit code 2.
fail() {
  say "error: $*"
  exit 2
}

# make_folder: sets `folder`, on a disk of this node and for this user only. Ray's sockets need a short path.
make_folder() {
  local base=${EMPO_RLLIB_TMP:-${SLURM_TMPDIR:-/tmp}} longest=23 answer
  if [ "${#base}" -gt "$longest" ]; then
    say "note: $base is too long for Ray's sockets (more than $longest characters), so files are in /tmp"
    base=/tmp
  fi
  # Never made without being known to the traps, which remove it.
  if ! folder=$(trap '' TERM && mktemp -d "$base/empo-XXXXXX" 2>&1); then
    answer=$folder
    folder=""
    fail "no folder can be made in $base: ${answer##*: }. Free some space, or name another: EMPO_RLLIB_TMP=/path"
  fi
}

# The address that other nodes reach this one by: that of EMPO_RLLIB_INTERFACE, else of the node's name.
node_address() {
  local found
  if [ -n "${EMPO_RLLIB_INTERFACE:-}" ]; then
    ip -4 -oneline address show dev "$EMPO_RLLIB_INTERFACE" 2>/dev/null |
      awk '{ sub("/.*", "", $4); print $4; exit }'
  else
    found=$(getent ahostsv4 "$node" | awk '$1 !~ /^127[.]/ { print $1; exit }')
    echo "${found:-$(hostname --all-ip-addresses | awk '{ print $1 }')}"
  fi
}

# What the job may use of this node.
node_memory_mb() {
  if [ "${SLURM_MEM_PER_NODE:-0}" -gt 0 ]; then
    echo "$SLURM_MEM_PER_NODE"
  elif [ "${SLURM_MEM_PER_CPU:-0}" -gt 0 ]; then
    echo $((SLURM_MEM_PER_CPU * SLURM_CPUS_ON_NODE))
  elif [ "${SLURM_MEM_PER_GPU:-0}" -gt 0 ]; then
    echo $((SLURM_MEM_PER_GPU * SLURM_GPUS_ON_NODE))
  else # not limited: the share of the memory that the job has of the CPUs
    awk -v cpus="$SLURM_CPUS_ON_NODE" -v all="$(nproc --all)" \
      '/^MemTotal:/ { print int($2 / 1024 * (cpus < all ? cpus / all : 1)) }' /proc/meminfo
  fi
}

node_gpus() {
  case ${CUDA_VISIBLE_DEVICES:-} in
    "" | NoDevFiles) echo 0 ;;
    *) awk -F, '{ print NF }' <<<"$CUDA_VISIBLE_DEVICES" ;;
  esac
}

# Ray's object store: three tenths of the memory, at most eight tenths of what is free in /dev/shm.
object_store_mb() {
  df -P --block-size=1M /dev/shm | awk -v memory="$(node_memory_mb)" \
    'NR == 2 { most = 0.3 * memory; free = 0.8 * $4; print int(most < free ? most : free) }'
}

# in_image COMMAND...: becomes that command, in the container (or, with --no-container, in .venv).
in_image() {
  local addresses settings options
  addresses=$(job_addresses)
  settings=(
    "EMPO_RLLIB_FOLDER=$folder"
    "TMPDIR=$folder"
    "XDG_CACHE_HOME=$folder/cache"
    "NUMBA_CACHE_DIR=$cache/numba"
    "MPLCONFIGDIR=$folder/cache/matplotlib"
    "TORCHINDUCTOR_CACHE_DIR=$folder/cache/inductor"
    "TRITON_CACHE_DIR=$folder/cache/triton"
    "WANDB_CACHE_DIR=$folder/cache/wandb"
    "WANDB_CONFIG_DIR=$folder/cache/wandb"
    "WANDB_DATA_DIR=$folder/cache/wandb"
    "RAY_AUTH_MODE=token"
    "RAY_AUTH_TOKEN_PATH=$folder/token"
    "RAY_USAGE_STATS_ENABLED=0"
    "RAY_prestart_worker_first_driver=0" # trials and env runners have processes of their own
    # A busy node starts Ray more slowly than Ray would wait; EMPO_RLLIB_START_S is the limit.
    "RAY_raylet_start_wait_time_s=120"
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S=300"
    "AUTOSCALER_METRIC_PORT=0" # any free one
    "NO_PROXY=$addresses"
    "no_proxy=$addresses"
    "SDL_VIDEODRIVER=dummy"
  )
  if [ "$EMPO_RLLIB_CONTAINER" = no ]; then
    exec env "${settings[@]}" "PATH=$venv/bin:$PATH" "$@"
  fi
  mkdir -p "$cache"
  options=(--pwd "$repository" --bind "$repository:/workspace")
  options+=(--bind "$repository" --bind "$folder" --bind "$cache")
  if [ -n "${EMPO_RLLIB_BIND:-}" ]; then options+=(--bind "$EMPO_RLLIB_BIND"); fi
  if [ "${SLURM_GPUS_ON_NODE:-0}" -gt 0 ]; then options+=(--nv); fi
  exec apptainer --silent exec "${options[@]}" "$image" env "${settings[@]}" "$@"
}

# detached NAME COMMAND...: runs it in the image, as no descendant of this script. Its process id and, when it has
# ended, its exit code are in NAME.pid and NAME.status.
detached() {
  rm -f "$folder/$1".{pid,status}
  (
    {
      (in_image "${@:2}") 2>&3 &
      echo $! >"$folder/$1.pid"
      wait $!
      echo $? >"$folder/$1.ended"
      mv "$folder/$1.ended" "$folder/$1.status"
    } 3>&2 </dev/null 2>/dev/null & # only the command's own errors are for the user
  )
  for _ in {1..400}; do
    if [ -s "$folder/$1.pid" ]; then return; fi
    sleep 0.02
  done
  echo 143 >"$folder/$1.status" # the signal that ends the job has ended it before it began
}

# read_pid NAME: sets `pid`. What is asked again and again substitutes no command: bash 5.2 parses a substitution each
# time it is used, and a trap that comes meanwhile ends the script, with nothing saved and nothing removed.
read_pid() {
  pid=""
  { read -r pid <"$folder/$1.pid"; } 2>/dev/null
}

# has_ended NAME; a process that was killed together with who waits for it has left no status, which others have soon:
# within 2 s, or more on a busy node, whose sleeps take longer.
has_ended() {
  if [ -e "$folder/$1.status" ]; then return 0; fi
  read_pid "$1"
  if kill -0 "$pid" 2>/dev/null; then return 1; fi
  for _ in {1..40}; do
    if [ -e "$folder/$1.status" ]; then return 0; fi
    sleep 0.05
  done
}
exit_code() { cat "$folder/$1.status" 2>/dev/null || echo 137; }

# What no proxy of the cluster is to be asked for.
job_addresses() {
  printf '%s' "127.0.0.1,localhost,$(scontrol show hostnames | tr '\n' ','),$EMPO_RLLIB_HEAD${NO_PROXY:+,$NO_PROXY}"
}

# start_ray OPTION...: a Ray node that offers what the job has of this one.
start_ray() {
  local store_mb options
  store_mb=$(object_store_mb)
  options=(
    --block --disable-usage-stats --log-color=false
    --include-log-monitor=false # which brings what workers print to drivers: ours does not ask for it
    "--temp-dir=$folder/ray" # which Ray opens to everybody
    "--node-ip-address=$(node_address)"
    "--num-cpus=$SLURM_CPUS_ON_NODE"
    "--num-gpus=$(node_gpus)"
    "--memory=$((($(node_memory_mb) - store_mb) * 1000000))"
    "--object-store-memory=$((store_mb * 1000000))"
    # Any free ports: other jobs on this node have theirs.
    --min-worker-port=0 --max-worker-port=0 --dashboard-agent-listen-port=0
  )
  detached ray ray start "${options[@]}" "$@" >"$folder/ray.log" 2>&1
}

# What Ray said of its end: the process that was lost, or else the last line.
last_words() {
  sed -e 's/^.* -- //' "$folder/ray.log" | awk '
    / \[exit code=/ { lost = lost " " $0 }
    NF { last = $0 }
    END { print lost ? "it lost" lost : last }' | tr -s ' '
}

# What `detached` started here and what has not ended: Apptainer, which ends, and takes its mounts along, when the
# command in it has.
started() {
  for file in "$folder"/*.pid; do
    if [ ! -e "${file%.pid}.status" ] && kill -0 "$(cat "$file")"; then cat "$file"; fi
  done 2>/dev/null
}

# The processes of this job on this node that run in the image. Ray's write titles over what they were started with,
# but have their logs open; what was just started is still a copy of this script.
processes() {
  {
    {
      grep -lzxF "EMPO_RLLIB_FOLDER=$folder" /proc/[0-9]*/environ
      find /proc/[0-9]*/fd -lname "$folder/ray/*"
    } | cut -d / -f 3
    for process in $(started); do
      if cmp -s "/proc/$process/comm" "/proc/$$/comm"; then echo "$process"; fi
    done
  } 2>/dev/null | sort -u
}

end_processes() {
  local pids
  for _ in {1..50}; do
    pids=$(processes)
    # shellcheck disable=SC2086  # one argument for each process
    if [ -n "$pids" ]; then kill -KILL $pids 2>/dev/null; elif [ -z "$(started)" ]; then return; fi
    sleep 0.1
  done
  # shellcheck disable=SC2046
  kill -KILL $(started) 2>/dev/null
}

leave_node() {
  if [ -z "$folder" ]; then return; fi
  end_processes
  # The exit codes of what was killed may just be written, each by a process of its own.
  for _ in {1..10}; do
    if rm -rf "$folder" 2>/dev/null; then return; fi
    sleep 0.5
  done
  say "note: $folder is left: $(rm -rf "$folder" 2>&1 | tail -n 1)"
}

# How long SLURM waits from TERM to KILL, less what it takes to leave the nodes.
grace_s() {
  local wait_s
  wait_s=$(scontrol show config | awk '$1 == "KillWait" { print $3 }')
  wait_s=${wait_s:-30}
  echo $((wait_s > 15 ? wait_s - 8 : wait_s / 2))
}
