
# Asked to end (USR1 or TERM), tell those that can save: the engine, or the processes a launcher started. A launcher that
# is itself told would end them before they are done.
children() {
    local stat line parent
    for stat in /proc/[0-9]*/stat; do
        { read -r line <"$stat"; } 2>/dev/null || continue
        read -r _ parent _ <<<"${line##*) }"
        [ "$parent" = "$1" ] && printf '%s\n' "${line%% *}"
    done
}

save() {
    trap '' USR1 TERM
    local workers=""
    [ "$through" = yes ] && workers=$(children "$engine_id")
    # No workers yet: nothing to save, and the launcher itself ends.
    # shellcheck disable=SC2086
    kill -s "$saves_on" ${workers:-$engine_id} 2>/dev/null
    wait "$engine_id"
    exit "$?" # a bare exit may answer with what was before the signal
}

# torchrun takes --node-rank, --master-addr and --master-port from here.
export PET_NODE_RANK=$SLURM_NODEID PET_MASTER_ADDR=$VIRC_MASTER_ADDR PET_MASTER_PORT=$VIRC_MASTER_PORT

(trap '' USR1; exec "${engine[@]}") & # slurm may be set to signal every process of a job
engine_id=$!
trap save USR1 TERM
wait "$engine_id"
