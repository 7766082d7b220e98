"""Run folders: attempts, checkpoints, metrics and plots."""
