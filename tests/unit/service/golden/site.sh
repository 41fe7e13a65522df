#!/usr/bin/env bash
#SBATCH --job-name=empty-8x8-ppo
#SBATCH --nodes=1
#SBATCH --cpus-per-task=16
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --partition=gpu,main
#SBATCH --exclusive
#SBATCH --comment='it'"'"'s a \\ test #5'
#SBATCH --time=4:00:00
exec "$SLURM_SUBMIT_DIR/cluster/ray_slurm.sh" --config tune_configs/ppo.yaml
