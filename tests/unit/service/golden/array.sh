#!/usr/bin/env bash
#SBATCH --job-name=empty-8x8-ppo
#SBATCH --nodes=1
#SBATCH --cpus-per-task=4
#SBATCH --mem-per-cpu=2G
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --array=0-3
#SBATCH --time=60
exec "$SLURM_SUBMIT_DIR/cluster/ray_slurm.sh" --config tune_configs/ppo.yaml
