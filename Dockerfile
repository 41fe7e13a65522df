# One image for the laptop, the GPU workstation and the cluster (Docker and Apptainer).
#
#   docker build -t empo_rllib .
#   --build-arg BASE_IMAGE=ubuntu:24.04     without the CUDA base; docs/docker.md says more
#   --build-arg TORCH_INDEX_URL=URL         another build of torch: CPU, or an older CUDA
#   --build-arg DEV_MODE=true               (or false) with the tools for tests and notebooks
#   --build-arg USER_ID=.. GROUP_ID=..      the user's ids
#   --build-context wheels=DIR              wheels that pip prefers to downloads
ARG BASE_IMAGE=nvidia/cuda:13.0.2-base-ubuntu24.04
ARG DEV_MODE=false

# Empty unless `--build-context wheels=DIR` replaces it.
FROM scratch AS wheels

FROM ${BASE_IMAGE} AS system
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates git openmpi-bin procps python3 tini \
 && rm -rf /var/lib/apt/lists/*

# The dependencies. Only what decides them is copied, so that a change of the code does not come here.
FROM system AS packages
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /workspace
COPY pyproject.toml constraints.txt ./
ARG TORCH_INDEX_URL=
ENV PIP_FIND_LINKS=/wheels \
    PIP_EXTRA_INDEX_URL=${TORCH_INDEX_URL} \
    PIP_CONSTRAINT=/workspace/constraints.txt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_QUIET=1
# An empty package stands for the code, which is found in /workspace (an editable installation).
# Compiled on all CPUs, which pip does on one; some packages ship files that are no Python 3.
RUN --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=cache,target=/root/.cache/pip,sharing=locked \
    mkdir empo_rllib && touch empo_rllib/__init__.py README.md LICENSE \
 && python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-compile --editable . \
 && { /opt/venv/bin/python -m compileall -qq --workers 0 /opt/venv/lib || true; }

FROM packages AS packages-dev-false
FROM packages AS packages-dev-true
RUN --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=cache,target=/root/.cache/pip,sharing=locked \
    /opt/venv/bin/pip install --no-compile --editable ".[dev,notebook]" \
 && { /opt/venv/bin/python -m compileall -qq --workers 0 /opt/venv/lib || true; }
# hadolint ignore=DL3006  # a stage of this file
FROM packages-dev-${DEV_MODE} AS chosen-packages

FROM system
ARG USER_ID=1000
ARG GROUP_ID=1000
# The base may have a user with this id already (Ubuntu 24.04 has `ubuntu`): it makes way.
# Folders in which every user may write; a new volume over one takes over its mode.
RUN if name=$(id -nu "$USER_ID" 2>/dev/null); then userdel "$name"; fi \
 && if ! getent group "$GROUP_ID" >/dev/null; then groupadd --gid "$GROUP_ID" appuser; fi \
 && useradd --uid "$USER_ID" --gid "$GROUP_ID" --no-create-home --home-dir /tmp appuser \
 && mkdir -m 1777 /tmp/.cache /run/empo_rllib
COPY --from=chosen-packages /opt/venv /opt/venv
# HOME: caches (numba, matplotlib, torch, triton, wandb) follow it to where any user may write,
# also over a read-only image. Apptainer puts the user's own in its place.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    USER=appuser \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    EMPO_RLLIB_WORKSPACE=/workspace \
    EMPO_RLLIB_IMAGE=1
WORKDIR /workspace
COPY . .
ARG REVISION=unknown
ARG VERSION=unknown
# `.image` tells the code of the image from a clone that is mounted over it.
RUN printf '%s\n' "$REVISION" > .image && chmod -R a+rX .
LABEL org.opencontainers.image.title="empo_rllib" \
      org.opencontainers.image.description="Multi-agent reinforcement learning on Ray RLlib" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER ${USER_ID}:${GROUP_ID}
EXPOSE 6379 8265 10001
# -s: also when the engine's own init is the first process.
ENTRYPOINT ["tini", "-s", "--"]
CMD ["python", "-m", "empo_rllib", "--help"]
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=6 CMD ["cluster/containers/healthcheck.sh"]
