"""Runs on Slurm and Ray."""
