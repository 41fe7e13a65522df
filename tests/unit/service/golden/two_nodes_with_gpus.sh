#!/usr/bin/env bash
#SBATCH --job-name=empty-8x8-ppo
#SBATCH --nodes=2
#SBATCH --cpus-per-task=32
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --time=1-12:00:00
#SBATCH --gpus-per-node=a100:4
#SBATCH --mem=240G
#SBATCH --qos=high
exec "$SLURM_SUBMIT_DIR/cluster/ray_slurm.sh" --config tune_configs/ppo.yaml --resume
