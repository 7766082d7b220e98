#!/bin/bash
# The judge. --overlap: it takes nothing from the step of training, which would wait for it.
exec srun --overlap --export=ALL --mpi=none --nodes 1 --ntasks 1 --relative 0 --cpus-per-task=96 \
  /scratch/virc/bin/python -m virc_cli serve judge-32b --max-model-len 8192 --tensor-parallel-size=4 --gpus=4,5,6,7 --host=0.0.0.0 --port="$VIRC_JUDGE_PORT"
