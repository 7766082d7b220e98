#!/bin/bash
#SBATCH --job-name=virc-instruct
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=64
#SBATCH --gres=gpu:8
#SBATCH --output=/scratch/ann/figures/runs/virc-instruct/logs/slurm-%j.log
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@300
#SBATCH --requeue

trap '' USR1  # until virc takes it
cd /scratch/ann/figures || exit
export HF_HUB_OFFLINE=1
export VIRC_JOB=$SLURM_JOB_ID
# Where the processes of all nodes meet.
VIRC_MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
VIRC_MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000))
export VIRC_MASTER_ADDR VIRC_MASTER_PORT
# In place of this shell, so that the signal before the end reaches it.
exec /scratch/virc/bin/python -m virc_cli train --resume --name virc-instruct
