# Every target does its own set-up in .venv, and does it again only when
# pyproject.toml or constraints.txt changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# On all CPUs, which pip does on one. Some packages ship files that are no Python 3.
COMPILE := $(BIN)/python -m compileall -qq --workers 0 $(VENV)/lib || true
# Compiles the kernels of the main job: otherwise its first run does, or several tests do at a time.
TRY = echo "Compiling, and training for a moment to see that it works." && scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
  $(BIN)/python -m empo_rllib.tune --config tune_configs/smoke.yaml --set storage_path=$$scratch >/dev/null 2>$$scratch/log || \
  { cat $$scratch/log >&2; exit 1; }
# Several at a time: starting Ray is mostly waiting. A file stays whole, for its tests share runs, and in its place:
# the long ones come first.
# Inputs for each reader, and where their chance begins.
FUZZ_INPUTS := 10000
FUZZ_SEED := $(shell date +%s)
PYTEST := $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder
# Programs for container tests, where every user can run them.
TESTBED := /var/cache/empo_rllib-testbed
RUN := results/empty-8x8-ppo
# How many runs meet all faults of the table, one after the other: some minutes each.
FAULTS_CHAINS := 3

# Containers: the experiment of `make submit` and more arguments for it, and more arguments for `docker build`.
CONFIG := tune_configs/ppo.yaml
ARGS :=
DOCKER_BUILD_FLAGS ?=
DOCKER_BUILD = docker build $(DOCKER_BUILD_FLAGS) \
  --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) \
  --build-arg VERSION=$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
PREPARE := cluster/containers/prepare.sh

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install train test test-all test-faults test-fuzz test-third-party testbed test-containers test-slurm bench check build build-dev push up down shell logs submit dashboard lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(VENV)/installed ## set up .venv with what training needs

train: $(VENV)/installed ## train, evaluate and film two agents (replaces the last `make train`)
	$(BIN)/python -m empo_rllib.tune --config tune_configs/ppo.yaml --overwrite
	$(BIN)/python -m empo_rllib evaluate $(RUN)
	$(BIN)/python -m empo_rllib record $(RUN) --out $(RUN)/episode.gif

test: $(VENV)/installed-dev ## run the unit and contract tests and the core of the integration tests
	$(PYTEST) -m "not slow"

test-all: test ## run these, then the rest of the integration tests and a sample of the faults
	$(PYTEST) -m slow tests/integration tests/faults

# Also: FAULTS_SEED=7 repeats the moments and damages that a run with this seed had.
test-faults: $(VENV)/installed-dev ## kill, fill, damage, misbehave: make test-faults FAULTS_CHAINS=30
	FAULTS_CHAINS=$(FAULTS_CHAINS) $(BIN)/python -m pytest tests/faults

# Test by test, for a few take most of the time.
test-fuzz: $(VENV)/installed-dev ## give each reader of files 10,000 random inputs (half an hour)
	EMPO_RLLIB_FUZZ_INPUTS=$(FUZZ_INPUTS) $(BIN)/python -m pytest tests/fuzz --numprocesses 2 -o timeout=7200 \
	  --hypothesis-seed=$(FUZZ_SEED)

test-third-party: $(VENV)/installed-dev ## train in other people's environments (downloads them; a minute each)
	$(BIN)/python -m pytest tests/third_party

# As root on Debian 12: a Docker Engine that runs apart from any other, Apptainer, SLURM, Prometheus and a browser.
testbed: ## install what the tests of containers and SLURM need
	tests/testbed/install_browser.sh
	tests/testbed/install_docker.sh $(TESTBED)/docker
	tests/testbed/install_prometheus.sh $(TESTBED)/prometheus
	tests/testbed/install_apptainer.sh $(TESTBED)/apptainer
	tests/testbed/install_slurm.sh

test-containers: $(VENV)/installed-dev testbed ## test the image and the cluster on a Docker Engine of its own
	TESTBED=$(TESTBED) $(BIN)/python -m pytest tests/containers

# In network namespaces, with the image made by that engine.
test-slurm: $(VENV)/installed-dev testbed ## test jobs on a SLURM cluster of its own
	TESTBED=$(TESTBED) $(BIN)/python -m pytest tests/slurm

bench: $(VENV)/installed ## measure env steps a second against stock RLlib (most of an hour)
	$(BIN)/python -m benchmarks.throughput

check: $(VENV)/installed-dev ## format, lint, types, generated files, scripts, Dockerfile, YAML
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m empo_rllib.config.generate --check
	$(BIN)/shellcheck .ci/run $(shell find cluster tests -name "*.sh")
	$(BIN)/hadolint Dockerfile
	$(BIN)/yamllint --strict .
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec $(wildcard docker-compose*.yml)
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows $(wildcard .github/workflows/*.yml)
	$(BIN)/zizmor --offline --quiet .github/workflows

build: ## build the image empo_rllib:latest
	$(DOCKER_BUILD) --tag empo_rllib:latest .

build-dev: ## build empo_rllib:dev, with the tools for tests and notebooks
	$(DOCKER_BUILD) --build-arg DEV_MODE=true --tag empo_rllib:dev .

push: ## push the image: make push IMAGE=registry/name:tag
	@test -n "$(IMAGE)" || { echo "error: name the image: make push IMAGE=registry/name:tag" >&2; exit 2; }
	docker tag empo_rllib:latest '$(IMAGE)'
	docker push '$(IMAGE)'

up: ## start the Ray cluster in containers
	@$(PREPARE)
	docker compose up --detach --wait ray-head ray-worker
	@$(MAKE) --no-print-directory dashboard

down: ## stop it; runs under way are saved first, results stay
	docker compose stop ray-head # before the workers, on which a run may have processes to save
	docker compose --profile '*' down

shell: ## a shell in the cluster's head
	docker compose exec ray-head bash

logs: ## follow what the containers print
	docker compose --profile '*' logs --follow

submit: ## train on the cluster: make submit CONFIG=tune_configs/ppo.yaml ARGS=--resume
	docker compose exec ray-head python -m empo_rllib submit --config $(CONFIG) --follow $(ARGS)

dashboard: ## print the dashboard's address and how to log in
	@address=$$(docker compose port ray-head 8265 2>/dev/null) && echo "Ray dashboard: http://$$address" || \
	  { echo "error: no cluster runs here. Type: make up" >&2; exit 1; }
	@echo "It asks for a token, which this prints: docker compose exec ray-head cat /run/empo_rllib/token"

lock: $(VENV)/installed ## move every pin of constraints.txt to the newest version allowed
	$(PIP) install --quiet --constraint constraints.txt uv
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --fork-strategy fewest \
	  --only-binary :all: --all-extras --upgrade --no-header --no-annotate --quiet \
	  --output-file $(VENV)/resolved.txt
	{ sed -n '/^#/p' constraints.txt; sed 's/ *;.*//' $(VENV)/resolved.txt; } > $(VENV)/constraints.txt
	mv $(VENV)/constraints.txt constraints.txt

clean: ## remove .venv, caches and build outputs; results stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are written last, so an interrupted set-up is done again.
$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || \
	  { echo "$(PYTHON) is not Python 3.11, 3.12 or 3.13. Name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv module. For example: apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV): minutes the first time, mostly 3 GB of downloads."
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/created
	$(PIP) install --quiet --no-compile --editable . --constraint constraints.txt
	@$(COMPILE)
	@$(TRY)
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(VENV)/created
	$(PIP) install --quiet --no-compile --editable '.[dev]' --constraint constraints.txt
	@$(COMPILE)
	@$(TRY)
	@touch $@ $(VENV)/installed
