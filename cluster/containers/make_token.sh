#!/usr/bin/env bash
# make_token.sh: generates the cluster's token at RAY_AUTH_TOKEN_PATH, readable by its user only, unless it is
# there. It is never printed.
set -euo pipefail

token=${RAY_AUTH_TOKEN_PATH:?make_token.sh: RAY_AUTH_TOKEN_PATH is not set}
if [ ! -e "$token" ]; then
  (umask 077 && python3 -c 'import secrets; print(secrets.token_hex(32), end="")' >"$token.$$")
  mv --no-clobber "$token.$$" "$token"
  rm -f "$token.$$"
fi
if [ ! -r "$token" ]; then
  echo "error: $token belongs to another user: USER_ID changed since the cluster was made." \
    "Type: docker compose down --volumes" >&2
  exit 1
fi
