"""Critic-V: its pipeline and the other files of the system."""
