#!/usr/bin/env bash
# worker.sh: a node of the Ray cluster, until its head is gone. The token comes on standard input.
#
# EMPO_RLLIB_HEAD, EMPO_RLLIB_HEAD_PORT   where the head is
set -uo pipefail
# shellcheck source=cluster/slurm/node.sh
. "${BASH_SOURCE[0]%/*}/node.sh"

readonly STARTS=3
deadline=""

# A TERM does not end this node: its head needs it to save the run, and ends within this time.
# shellcheck disable=SC2329  # the trap calls it
on_term() { deadline=$((SECONDS + $(grace_s) + 4)); }
trap on_term TERM
trap leave_node EXIT

head_answers() {
  timeout 3 bash -c ": <>/dev/tcp/$EMPO_RLLIB_HEAD/$EMPO_RLLIB_HEAD_PORT" 2>/dev/null
}

# Tried again before it counts: a node that is short of CPU answers late.
head_is_gone() { ! head_answers && sleep 1 && ! head_answers && sleep 1 && ! head_answers; }

is_late() { [ -n "$deadline" ] && [ "$SECONDS" -ge "$deadline" ]; }

# Returns when Ray has ended here (0) or is to end (1).
watch_ray() {
  while ! has_ended ray; do
    if is_late || head_is_gone; then return 1; fi
    sleep 1 &
    wait $! # a trap runs at once
  done
}

make_folder
(umask 077 && cat >"$folder/token")
for ((start = 1; start <= STARTS; start++)); do
  if [ "$start" -gt 1 ]; then
    say "starting Ray here again ($start of $STARTS)"
    end_processes # what the last one left
  fi
  start_ray "--address=$EMPO_RLLIB_HEAD:$EMPO_RLLIB_HEAD_PORT"
  watch_ray || exit 0
  if head_is_gone; then exit 0; fi
  say "Ray ended with exit code $(exit_code ray): $(last_words)"
done
say "error: Ray does not stay up on this node; the run goes on with the others"
exit 1
