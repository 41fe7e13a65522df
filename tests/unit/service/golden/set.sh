#!/usr/bin/env bash
#SBATCH --job-name=empty-8x8-ppo
#SBATCH --nodes=1
#SBATCH --cpus-per-task=4
#SBATCH --mem-per-cpu=2G
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
exec "$SLURM_SUBMIT_DIR/cluster/ray_slurm.sh" --config tune_configs/ppo.yaml --set 'algorithm.callbacks=["mine:Told", "mine:Drawn"]' --set 'env.kwargs={"goal": "red", "note": "it'"'"'s 5 o'"'"'clock"}' --set 'algorithm.params.lr={loguniform: [1.0e-4, 1.0e-2]}' --overwrite
