"""Ray: runs as jobs of a cluster that is already running, or of one that the nodes of a Slurm job form."""
