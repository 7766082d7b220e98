#!/bin/bash
# The judge. --overlap: it takes nothing from the step of training, which would wait for it.
exec srun --overlap --export=ALL --mpi=none --nodes 1 --ntasks 1 --relative 1 --cpus-per-task=96 \
  /scratch/virc/bin/python -m virc_cli serve judge --tensor-parallel-size=4 --host=0.0.0.0 --port="$VIRC_JUDGE_PORT"
