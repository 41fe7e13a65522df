#!/usr/bin/env bash
# Makes the image that SLURM jobs run in from a container image, and checks it: setup_cluster_image.sh --help
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

usage() {
  cat <<'TEXT'
usage: cluster/setup_cluster_image.sh SOURCE [FILE.sif]

SOURCE is one of
  docker://registry.example.org/team/empo_rllib:0.1   an image in a registry
  empo_rllib.tar                                      an archive: docker save empo_rllib:latest -o empo_rllib.tar
  empo_rllib:latest                                   an image of this machine's Docker

FILE.sif is where the cluster's nodes find it: on a file system that they share; by default empo_rllib.sif in the
repository (or what EMPO_RLLIB_SIF names). It is replaced only by one that has passed the checks: versions, imports
and a tiny training. It takes minutes, and three times the image's size in TMPDIR (default /var/tmp). The nodes need no network.
TEXT
}

fail() {
  echo "error: $*" >&2
  exit 2
}

# What Apptainer calls it.
find_source() {
  case $1 in
    docker://* | oras://* | docker-daemon:* | docker-archive:* | oci-archive:*) echo "$1" ;;
    *.tar | *.tar.gz | *.tgz)
      if [ ! -r "$1" ]; then fail "$1: no such archive. Make it with: docker save empo_rllib:latest -o $1"; fi
      echo "docker-archive:$(realpath "$1")"
      ;;
    *)
      if ! docker version >/dev/null 2>&1; then
        fail "$1: no Docker engine answers here that it could be taken from. Give docker://REGISTRY/$1 or an archive (--help)"
      elif ! docker image inspect "$1" >/dev/null 2>&1; then
        fail "$1: this machine's Docker has no such image. Build it with: make build"
      fi
      echo "docker-daemon:$1"
      ;;
  esac
}

build() { # build SOURCE FILE
  # A third larger than with zstd, and read with a third less CPU time, for which every process of a job waits: jobs
  # start sooner. Apptainer's own variable sets another.
  export APPTAINER_MKSQUASHFS_ARGS=${APPTAINER_MKSQUASHFS_ARGS:--comp lz4}
  export APPTAINER_TMPDIR=$temporary APPTAINER_CACHEDIR=$temporary/cache
  apptainer --quiet build --disable-cache "$2" "$1" || fail "$1 could not be made into an image: Apptainer has said why"
}

# As a job runs it: read-only, this clone's code, nothing of this shell's Python.
in_image() {
  apptainer --silent exec --cleanenv --no-home --pwd "$repository" \
    --bind "$repository" --bind "$repository:/workspace" --bind "$temporary" --bind "$cache" "$part" \
    env "TMPDIR=$temporary" "HOME=$temporary" "NUMBA_CACHE_DIR=$cache/numba" "$@"
}

check() {
  local answer
  answer=$(in_image python -c '
import platform, empo_rllib, multigrid.envs, numba, pettingzoo, ray, safetensors, torch, wandb
print(f"empo_rllib {empo_rllib.__version__}, Python {platform.python_version()}, Ray {ray.__version__}, torch {torch.__version__}")
' 2>&1) || fail "the image lacks what a run needs: ${answer##*$'\n'}"
  echo "$answer"
  echo "training tune_configs/smoke.yaml in it, which also compiles kernels for the first job"
  answer=$(in_image python -m empo_rllib.tune --config tune_configs/smoke.yaml \
    --set "storage_path=$temporary/results" 2>&1) || fail "the image does not train: $(tail -n 3 <<<"$answer")"
}

case ${1:-} in
  "" | -h | --help)
    usage
    exit "$(($# == 0 ? 2 : 0))"
    ;;
esac
if [ $# -gt 2 ]; then fail "one SOURCE and one FILE.sif; see --help"; fi
if ! command -v apptainer >/dev/null; then
  fail "no apptainer command here: load the module that has it"
fi
source=$(find_source "$1")
target=$(realpath -m "${2:-${EMPO_RLLIB_SIF:-$repository/empo_rllib.sif}}")
mkdir -p "$(dirname "$target")" 2>/dev/null || fail "$(dirname "$target") cannot be made: name another FILE.sif"
if [ ! -w "$(dirname "$target")" ]; then fail "$(dirname "$target") cannot be written: name another FILE.sif"; fi
part=$target.part-$$.sif
cache=${EMPO_RLLIB_CACHE:-$repository/.cache}
mkdir -p "$cache"
temporary=$(mktemp -d "${TMPDIR:-/var/tmp}/empo-XXXXXX")
trap 'rm -rf "$temporary" "$part"' EXIT
trap 'exit 130' INT TERM

echo "making $target from $source"
build "$source" "$part"
check
mv "$part" "$target"
echo "$target is ready ($(du -h "$target" | cut -f 1)): sbatch cluster/ray_slurm.sh"
