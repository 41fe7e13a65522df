#!/usr/bin/env bash
# notebook.sh: JupyterLab on port 8888, behind the cluster's token.
#
# The token goes through the environment of this process only: it is in no argument, and not in what
# `docker inspect` shows.
set -euo pipefail

cluster/containers/make_token.sh
JUPYTER_TOKEN=$(cat "$RAY_AUTH_TOKEN_PATH")
export JUPYTER_TOKEN
echo "JupyterLab: http://127.0.0.1:${JUPYTER_PORT:-8888} (token: docker compose exec dev cat $RAY_AUTH_TOKEN_PATH)"
exec jupyter lab --ip=0.0.0.0 --port=8888 --no-browser --ServerApp.root_dir=/workspace
