#!/usr/bin/env bash
# check.sh: can a job run on this node? One line that says what is missing, and exit code 2, if it cannot.
# ray_slurm.sh runs it on every node before anything else.
set -uo pipefail
# shellcheck source=cluster/slurm/node.sh
. "${BASH_SOURCE[0]%/*}/node.sh"

readonly LEAST_FOLDER_MB=500 LEAST_STORE_MB=80

check_image() {
  if [ "$EMPO_RLLIB_CONTAINER" = no ]; then
    [ -x "$venv/bin/ray" ] || fail "--no-container needs $venv: make install (or name another: EMPO_RLLIB_VENV=/path)"
    return
  fi
  command -v apptainer >/dev/null ||
    fail "no apptainer command: name the module that has it (EMPO_RLLIB_MODULES=apptainer), or use --no-container"
  [ -e "$image" ] ||
    fail "the image $image is missing: cluster/setup_cluster_image.sh makes it (EMPO_RLLIB_SIF names another)"
  local answer
  answer=$(in_image true 2>&1 </dev/null) || fail "the image $image does not run: $(tail -n 1 <<<"$answer")"
}

check_folder() {
  local free_mb
  free_mb=$(df -P --block-size=1M "$folder" | awk 'NR == 2 { print $4 }')
  [ "$free_mb" -ge "$LEAST_FOLDER_MB" ] ||
    fail "${folder%/*} has $free_mb MB left, Ray needs $LEAST_FOLDER_MB MB: free some, or EMPO_RLLIB_TMP=/path"
  [ "$(object_store_mb)" -ge "$LEAST_STORE_MB" ] ||
    fail "Ray's object store would have $(object_store_mb) MB, it needs $LEAST_STORE_MB MB: the job has" \
      "$(node_memory_mb) MB of memory here (--mem), /dev/shm has" \
      "$(df -P --block-size=1M /dev/shm | awk 'NR == 2 { print $4 }') MB left"
}

check_network() {
  [ -n "$(node_address)" ] ||
    fail "EMPO_RLLIB_INTERFACE = ${EMPO_RLLIB_INTERFACE:-} has no address; interfaces here:" \
      "$(ip -4 -oneline address show | awk '{ print $2 }' | sort -u | paste -sd ' ')"
}

check_gpus() {
  local asked seen
  asked=${SLURM_GPUS_ON_NODE:-0}
  if [ "$asked" -eq 0 ]; then return; fi
  seen=$(in_image nvidia-smi -L 2>/dev/null </dev/null | grep -c '^GPU ')
  [ "$seen" -ge "$asked" ] ||
    fail "the job has $asked GPUs here and the container sees $seen: nvidia-smi must work on this node, and" \
      "Apptainer's --nv must find the driver"
}

trap leave_node EXIT
trap 'exit 143' TERM
make_folder
# A job that is cancelled now ends while this is under way, and SLURM kills what is left of it: that is not a descendant
# of this script, and removes the folder then.
(bash -c 'while kill -0 "$1"; do sleep 0.2; done; rm -rf "$2"' remove $$ "$folder" </dev/null >/dev/null 2>&1 &)
check_image
check_folder
check_network
check_gpus
