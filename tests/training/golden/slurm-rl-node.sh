#!/bin/bash
export PYTHONPATH=/scratch/recipes
export NOTE='it'"'"'s $HOME'
unset PYTHONDONTWRITEBYTECODE
engine=(/scratch/env/bin/python -m virc.cluster.ray.nodes '/scratch/ann/my figures/ray_nodes.json' -- /scratch/env/bin/python -m virc.engines.verl.start '/scratch/ann/my figures/engine.yaml')
devices=8
cores=96
saves_on=TERM

# srun does not notice that its daemon on this node, this shell's parent, was killed: it would wait without end. So the
# engine is asked to save, and a file asks virc to end srun.
guard() {
    [ -d "/proc/$PPID" ] || return # not to be seen from a container
    while [ -d "/proc/$PPID" ]; do sleep 2; done
    trap '' TERM # the shell that now ends would end this one
    kill -s TERM "$$"
    while [ -d "/proc/$$" ]; do sleep 1; done
    touch "$(dirname "$0")/lost-$SLURM_NODEID"
}
guard &
guard_id=$!
trap 'kill "$guard_id" 2>/dev/null' EXIT

# Ray on every node of the job. On the first one the engine joins it and, when it has ended, tells the others by a file.
ended=$(dirname "$0")/ended
place=/tmp/virc-ray-$SLURM_JOB_ID # short, for the path of a socket has at most 107 bytes
ray=("${engine[0]}" -m ray.scripts.scripts start --block --disable-usage-stats
    --num-cpus="$cores" --num-gpus="$devices")

begin() {
    (trap '' USR1; exec "$@") & # slurm may be set to signal every process of a job
}

finish() {
    touch "$ended"
    kill -s TERM "$ray_id" 2>/dev/null
    wait "$ray_id"
    rm -rf "$place"
    exit "$1"
}

save() {
    trap '' USR1 TERM
    kill -s "$saves_on" "$engine_id" 2>/dev/null
    wait "$engine_id"
    finish "$?"
}

if [ "$SLURM_NODEID" != 0 ]; then
    trap '' USR1
    trap 'finish 0' TERM
    head=$(getent ahostsv4 "$VIRC_RAY_HOST" | awk '{ print $1; exit }')
    head=${head:-$VIRC_RAY_HOST}
    until (exec 3<>"/dev/tcp/$head/$VIRC_RAY_PORT") 2>/dev/null || [ -e "$ended" ]; do sleep 1; done
    begin "${ray[@]}" --address="$head:$VIRC_RAY_PORT"
    ray_id=$!
    until [ -e "$ended" ] || ! kill -0 "$ray_id" 2>/dev/null; do sleep 1; done
    [ -e "$ended" ]
    finish "$?" # Ray that ended by itself ends the job
fi

begin "${ray[@]}" --head --port="$VIRC_RAY_PORT" --include-dashboard=false --temp-dir="$place"
ray_id=$!
until (exec 3<>"/dev/tcp/127.0.0.1/$VIRC_RAY_PORT") 2>/dev/null || ! kill -0 "$ray_id" 2>/dev/null; do sleep 1; done
export RAY_ADDRESS=127.0.0.1:$VIRC_RAY_PORT
begin "${engine[@]}"
engine_id=$!
trap save USR1 TERM
wait "$engine_id"
finish "$?"
