"""Prism: its pipeline, and beside it all else that the system is."""
