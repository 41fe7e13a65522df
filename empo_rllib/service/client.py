"""The job service of a Ray cluster: the HTTP interface of its dashboard, with the token."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from empo_rllib.errors import ServiceError, ServiceLost
from empo_rllib.json_text import parse_json

if TYPE_CHECKING:
    # Under this name for those too that only pass a client on.
    from ray.job_submission import JobSubmissionClient as JobSubmissionClient

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
# Where Ray's own commands look, in this order. In `JobSubmissionClient` they would win over the
# address that it is given.
_ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
_ANSWER_S = 10.0
_MAX_ANSWER_BYTES = 100_000
# Ray's loggers that tell each step of an upload.
_TALKATIVE = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
_NO_DASHBOARD = (
    "what answers there is no Ray dashboard. Give the dashboard's URL with --address; its port is "
    "8265 unless it was changed."
)


def connect(address: str | None, token_file: Path | None) -> JobSubmissionClient:
    """Returns a client of the job service, which has answered.

    Args:
        address: The dashboard's URL; default: what Ray's environment variables say, else this
            machine's.
        token_file: Holds the cluster's token; default: what Ray's environment variables say.

    Raises:
        ServiceError: no Ray dashboard answers there, or it refuses the token.
    """
    url = _find_url(address)
    token, origin = _find_token(token_file)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    _check_answers(url, headers, origin)
    for variable in _ADDRESS_VARIABLES:
        os.environ.pop(variable, None)
    from ray.job_submission import JobSubmissionClient

    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    with reporting_loss(url):
        return JobSubmissionClient(url, headers=headers)


@contextlib.contextmanager
def reporting_loss(url: str) -> Iterator[None]:
    """Turns what goes wrong with a service that has answered before into a ServiceLost."""
    import aiohttp
    from ray.exceptions import RayError

    try:
        yield
    except (OSError, RuntimeError, aiohttp.ClientError, RayError) as error:
        # An OSError is a connection's, in many words.
        lines = [] if isinstance(error, OSError) else str(error).strip().splitlines()
        raise ServiceLost(
            f"{url}: {lines[-1] if lines else 'the cluster does not answer any more'}. "
            "`python -m empo_rllib jobs` tells what goes on there."
        ) from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ServiceLost(
            f"{url}: an answer is not that of Ray's job service ({reason:.200}). "
            "Check --address, and that the cluster runs the same version of Ray."
        ) from error


def _find_url(address: str | None) -> str:
    given = {"--address": address, **{name: os.environ.get(name) for name in _ADDRESS_VARIABLES}}
    for origin, value in given.items():
        if not value:
            continue
        parsed = urllib.parse.urlsplit(value)
        if parsed.scheme not in ("http", "https") or not parsed.hostname:
            raise ServiceError(
                f"{origin}: {value!r} is not the URL of a Ray dashboard, such as "
                f"{DEFAULT_ADDRESS}. Give one with --address."
            )
        return value.rstrip("/")
    return DEFAULT_ADDRESS


def _find_token(token_file: Path | None) -> tuple[str | None, str]:
    """Returns the token, if there is one, and where it is from."""
    if token_file is not None:
        return _read_token(token_file, "--token-file"), f"in {token_file}"
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token, "in RAY_AUTH_TOKEN"
    if path := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return _read_token(Path(path), "RAY_AUTH_TOKEN_PATH"), f"in {path} (RAY_AUTH_TOKEN_PATH)"
    return None, ""


def _read_token(path: Path, origin: str) -> str:
    try:
        token = path.expanduser().read_text("ascii").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ServiceError(
            f"{origin}: {path} cannot be read: {reason}. Give the file that holds the cluster's "
            "token, or type the command where it can be read."
        ) from error
    if len(token.split()) != 1:
        raise ServiceError(f"{origin}: {path} holds no token: it must be one word.")
    return token


def _check_answers(url: str, headers: dict[str, str], token_origin: str) -> None:
    """Asks for Ray's version, with a time limit, which `JobSubmissionClient` does not have."""
    try:
        request = urllib.request.Request(f"{url}/api/version", headers=headers)
        with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:
            parse_json(answer.read(_MAX_ANSWER_BYTES))["ray_version"]
    except urllib.error.HTTPError as error:
        error.close()
        if error.code not in (401, 403):
            raise ServiceError(f"{url}: {_NO_DASHBOARD}") from error
        raise ServiceError(_refusal(url, token_origin)) from error
    except (http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        raise ServiceError(f"{url}: {_NO_DASHBOARD}") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise ServiceError(
            f"{url}: no Ray cluster answers: {getattr(reason, 'strerror', None) or reason}. Start "
            "one (with containers: make up), or give its dashboard's URL with --address."
        ) from error


def _refusal(url: str, token_origin: str) -> str:
    wrong = (
        f"the cluster refuses the token {token_origin}."
        if token_origin
        else "the cluster asks for a token, and none was given."
    )
    return (
        f"{url}: {wrong} Give the file that holds its token with --token-file. With containers, "
        "`make submit` runs inside ray-head, where it is set."
    )
