"""Trajectories by rejection sampling."""
