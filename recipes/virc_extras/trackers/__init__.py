"""Rollouts of reinforcement learning with their pictures in the trackers of a run."""
