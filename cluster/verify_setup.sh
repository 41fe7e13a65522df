#!/usr/bin/env bash
# Checks, a line each, what this machine needs to train in containers or in .venv: verify_setup.sh --help
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
failures=0
quiet=no

usage() {
  cat <<'TEXT'
usage: cluster/verify_setup.sh [--containers]

Checks what training needs: Docker, compose, GPUs in containers, disk, ports, the results folder, Python,
the imports and a tiny training. It takes about a minute, from any folder, and prints a line for each:
  ok      it is there
  skip    it is not needed here, or cannot be told; the line says why
  FAIL    it is missing; the line says what to do

The imports and the training are tried in .venv when there is one (`make install`), else in the image when
there is one (`make build`). Nothing is left behind.

  --containers   only what a cluster in containers needs to start, and only what is missing

Exit code: 0 when nothing failed, 1 when something did, 2 for wrong arguments.
TEXT
}

ok() { if [ "$quiet" = no ]; then printf 'ok    %-9s %s\n' "$1" "$2"; fi; }
skip() { if [ "$quiet" = no ]; then printf 'skip  %-9s %s\n' "$1" "$2"; fi; }
fail() {
  printf 'FAIL  %-9s %s\n' "$1" "$2"
  failures=$((failures + 1))
}

# setting NAME DEFAULT: as compose finds it, in the environment or else in .env.
setting() {
  local value=${!1:-}
  if [ -z "$value" ] && [ -r "$root/.env" ]; then
    value=$(sed -n "s/^$1=//p" "$root/.env" | tail -n 1)
  fi
  printf '%s' "${value:-$2}"
}

# at_least VERSION MINIMUM
at_least() { [ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

have() { command -v "$1" >/dev/null 2>&1; }
have_image() { [ "$engine" = yes ] && docker image inspect "$image" >/dev/null 2>&1; }
last_line() { grep -v '^[[:space:]]*$' "$1" | tail -n 1; }

check_docker() {
  local answer
  engine=no
  if ! have docker; then
    fail docker "no docker command: install Docker Engine (https://docs.docker.com/engine/install)"
    return
  fi
  if answer=$(timeout --foreground 20 docker version --format '{{.Server.Version}}' 2>&1); then
    engine=yes
    ok docker "engine ${answer##*$'\n'}" # warnings come before
  elif [[ $answer == *"permission denied"* ]]; then
    fail docker "you may not use the engine: sudo usermod -aG docker $(id -un), then log in again"
  else
    fail docker "the engine does not answer: sudo systemctl start docker"
  fi
}

check_compose() {
  local version minimum=2.20
  if ! have docker; then
    skip compose "no docker command"
  elif ! version=$(docker compose version --short 2>/dev/null); then
    fail compose "docker has no compose plugin: install docker-compose-plugin (the old docker-compose does not do)"
  elif at_least "${version#v}" "$minimum"; then
    ok compose "version ${version#v}"
  else
    fail compose "version ${version#v}, needed is $minimum or newer: update docker-compose-plugin"
  fi
}

check_gpu() {
  local driver minimum=580
  if ! have nvidia-smi; then
    skip gpu "no nvidia-smi: training runs on CPU"
  elif ! driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1); then
    fail gpu "nvidia-smi fails: install the NVIDIA driver again, or reboot after its update"
  elif ! at_least "$driver" "$minimum"; then
    fail gpu "driver $driver is older than $minimum: update it, or build with TORCH_INDEX_URL for an older CUDA (docs/docker.md)"
  else
    check_gpu_in_containers "$driver"
  fi
}

check_gpu_in_containers() {
  local toolkit="sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"
  if [ "$engine" = no ]; then
    skip gpu "driver $1; containers cannot be tried without the engine"
  elif have_image; then
    if docker run --rm --gpus all "$image" nvidia-smi -L >/dev/null 2>&1; then
      ok gpu "driver $1, seen in a container"
    else
      fail gpu "driver $1, but a container sees no GPU: install nvidia-container-toolkit, then $toolkit"
    fi
  elif have nvidia-container-runtime-hook || have nvidia-container-runtime; then
    ok gpu "driver $1, NVIDIA container toolkit installed; \`make build\` first to try it in a container"
  else
    fail gpu "driver $1, but no NVIDIA container toolkit: install nvidia-container-toolkit, then $toolkit"
  fi
}

# check_disk WHAT FOLDER NEEDED_GB
check_disk() {
  local free_gb
  if ! free_gb=$(df -Pk "$2" 2>/dev/null | awk 'NR == 2 { print int($4 / 1048576) }') || [ -z "$free_gb" ]; then
    skip disk "the space for $1 cannot be told: $2 is not on this machine"
  elif [ "$free_gb" -ge "$3" ]; then
    ok disk "$free_gb GB free for $1"
  else
    fail disk "$free_gb GB free for $1 in $2, needed are $3 GB: make room$4"
  fi
}

check_disks() {
  local needed_gb=25 # an image, and the cache of its build
  if [ "$engine" = yes ]; then
    if have_image; then needed_gb=2; fi
    check_disk images "$(docker info --format '{{.DockerRootDir}}')" "$needed_gb" " (\`docker system df\` shows what takes it)"
  else
    skip disk "images: no engine"
  fi
  check_disk results "$(results_folder)" 2 ""
}

# The results folder, or where it would be made.
results_folder() { if [ -d "$root/results" ]; then echo "$root/results"; else echo "$root"; fi; }

check_results() {
  local folder user group
  folder=$(results_folder)
  user=$(setting USER_ID 1000)
  group=$(setting GROUP_ID 1000)
  if [ ! -w "$folder" ]; then
    fail results "you may not write in $folder: sudo chown -R $(id -u):$(id -g) $folder"
  elif [ -z "$(find "$folder" -maxdepth 0 \( -uid "$user" -perm -u=w -o -gid "$group" -perm -g=w -o -perm -o=w \))" ]; then
    fail results "containers run as user $user, who may not write in $folder: make up, or sudo install -d -o $user -g $group $root/results"
  else
    ok results "$folder can be written"
  fi
}

# check_ports NAME=DEFAULT...
check_ports() {
  local pair name port busy=0
  for pair; do
    name=${pair%=*}
    port=$(setting "$name" "${pair#*=}")
    if is_listening "$port" && ! is_ours "$port"; then
      fail ports "port $port is in use: stop what listens there, or put another into .env: $name=$((port < 50000 ? port + 10000 : port - 10000))"
      busy=1
    fi
  done
  if [ "$busy" = 0 ]; then ok ports "all free, or used by this project"; fi
}

is_listening() { (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

is_ours() {
  [ "$engine" = yes ] &&
    docker ps --filter "publish=$1" --format '{{.Label "com.docker.compose.project.working_dir"}}' | grep -qxF "$root"
}

# Clones of one machine that share a project name would replace each other's containers.
check_project() {
  local project other
  project=$(setting COMPOSE_PROJECT_NAME empo_rllib)
  if [ "$engine" = no ]; then return; fi
  other=$(docker ps --filter "label=com.docker.compose.project=$project" \
    --format '{{.Label "com.docker.compose.project.working_dir"}}' | grep -vxF "$root" | head -n 1)
  if [ -n "$other" ]; then
    fail project "$other runs a cluster under the same name: put others into .env: COMPOSE_PROJECT_NAME=${project}_2 and DASHBOARD_PORT=18265"
  fi
}

check_python() {
  local python=${PYTHON:-python3} version hint="install Python 3.11 to 3.13, or name one: PYTHON=python3.12"
  if ! version=$("$python" -c 'import platform; print(platform.python_version())' 2>/dev/null); then
    needed_without_containers "no $python: $hint"
  elif ! at_least "$version" 3.11 || at_least "$version" 3.14; then
    needed_without_containers "$python is $version: $hint"
  elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    needed_without_containers "$python has no venv module: install python3-venv"
  else
    ok python "$version with venv"
  fi
}

# needed_without_containers PROBLEM: the image brings a Python of its own.
needed_without_containers() {
  if [ "$engine" = yes ]; then skip python "$1 (only for .venv)"; else fail python "$1"; fi
}

# find_place: where Python is tried, and where its results go there.
find_place() {
  if [ -x "$root/.venv/bin/python" ]; then
    place=.venv results=$temporary/results remake="make clean install"
  elif have_image; then
    place="the image" results=/tmp/results remake="make build"
  else
    place=""
  fi
}

# run_python ARGUMENTS...: in that place, from the repository.
run_python() {
  if [ "$place" = .venv ]; then
    (cd "$root" && PYTHONDONTWRITEBYTECODE=1 .venv/bin/python "$@")
  else
    # As locked down as can be, and as a user that nobody knows: it must run anywhere.
    docker run --rm --init --read-only --tmpfs /tmp:exec,mode=1777 --shm-size 1g --user 4321:4321 \
      --network none --cap-drop ALL --security-opt no-new-privileges "$image" python "$@"
  fi
}

check_imports() {
  local versions
  if versions=$(run_python -c "
import empo_rllib, multigrid, numba, pettingzoo, ray, torch
print(f'empo_rllib {empo_rllib.__version__}, ray {ray.__version__}, torch {torch.__version__}')
" 2>"$temporary/errors"); then
    ok imports "$versions in $place"
  else
    fail imports "in $place: $(last_line "$temporary/errors"): $remake"
  fi
}

check_training() {
  if run_python -m empo_rllib.tune --config tune_configs/smoke.yaml --set "storage_path=$results" \
    >"$temporary/output" 2>"$temporary/errors"; then
    ok training "tune_configs/smoke.yaml in $place"
  else
    fail training "tune_configs/smoke.yaml in $place: $(last_line "$temporary/errors"): python -m empo_rllib.tune --config tune_configs/smoke.yaml tells all"
  fi
}

check_all() {
  check_docker
  check_compose
  check_gpu
  check_disks
  check_ports DASHBOARD_PORT=8265 TENSORBOARD_PORT=6006 JUPYTER_PORT=8888 DEBUGPY_PORT=5678 \
    PROMETHEUS_PORT=9090 GRAFANA_PORT=3000
  check_results
  check_python
  find_place
  if [ -z "$place" ]; then
    fail imports "there is neither .venv nor the image $image: make install, or make build"
    skip training "nothing to run it in"
  else
    check_imports
    check_training
  fi
}

check_containers() {
  quiet=yes
  check_docker
  check_compose
  check_project
  if [ "$failures" = 0 ]; then check_ports DASHBOARD_PORT=8265; fi
  exit "$((failures > 0))"
}

main() {
  image=$(setting IMAGE empo_rllib:latest)
  case "${1:-}" in
    "") ;;
    --containers) check_containers ;;
    -h | --help) usage && exit 0 ;;
    *)
      echo "cluster/verify_setup.sh does not know: $*. See --help." >&2
      exit 2
      ;;
  esac
  temporary=$(mktemp -d)
  trap 'rm -rf "$temporary"' EXIT
  trap 'exit 130' INT TERM
  check_all
  if [ "$failures" -gt 0 ]; then
    echo "failed: $failures"
    exit 1
  fi
  echo "All that training needs is here."
}

main "$@"
