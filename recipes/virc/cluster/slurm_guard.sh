
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
