# shellcheck shell=bash
# Settings of one cluster. Copy it, keep what applies, and source the copy before sbatch, for example from ~/.bashrc:
#
#   . ~/my-cluster.sh
#   sbatch --nodes=2 cluster/ray_slurm.sh --config tune_configs/ppo.yaml
#
# SBATCH_* are sbatch's own variables (man sbatch, "INPUT ENVIRONMENT VARIABLES"); they win over the #SBATCH lines of
# the script, and options that are typed win over them.

# --- where jobs run
# export SBATCH_PARTITION=gpu
# export SBATCH_ACCOUNT=my-project
# export SBATCH_QOS=normal
# export SBATCH_TIMELIMIT=12:00:00
# export SBATCH_GPUS_PER_NODE=1

# Seconds before the time limit at which a run is saved and requeued: long enough for an iteration and a checkpoint.
# export SBATCH_SIGNAL=B:USR1@300

# More options, which `python -m empo_rllib submit --slurm` adds; else: sbatch $EMPO_RLLIB_SBATCH_OPTIONS cluster/...
# export EMPO_RLLIB_SBATCH_OPTIONS="--constraint=v100 --exclude=node13"

# --- what a job finds there
# The image, on a file system that all nodes share (default: empo_rllib.sif in the repository).
# export EMPO_RLLIB_SIF=/shared/images/empo_rllib.sif

# Modules that have Apptainer, loaded in the job.
# export EMPO_RLLIB_MODULES="apptainer"

# Folders outside of the repository that runs write to or read, as Apptainer's --bind takes them.
# export EMPO_RLLIB_BIND=/scratch,/data:/data:ro

# The network between the nodes (default: the one that their names stand for).
# export EMPO_RLLIB_INTERFACE=ib0

# A disk of the node's own for Ray's files, of at most 23 characters (default: SLURM_TMPDIR, else /tmp).
# export EMPO_RLLIB_TMP=/local

# Compiled kernels, for all jobs (default: .cache in the repository).
# export EMPO_RLLIB_CACHE=/shared/cache/empo_rllib

# With --no-container: the virtual environment (default: .venv in the repository).
# export EMPO_RLLIB_VENV=/shared/venvs/empo_rllib

# --- how a job behaves
# How often a job may be requeued (default 20), and how many seconds Ray may take to start (default 45).
# export EMPO_RLLIB_MAX_REQUEUES=20
# export EMPO_RLLIB_START_S=45

# Where the tunnel to the dashboard goes through (default: the host that sbatch was typed on).
# export EMPO_RLLIB_LOGIN=login.example.org

# Compute nodes that reach the internet may log to W&B at once (default: offline).
# export WANDB_MODE=online
