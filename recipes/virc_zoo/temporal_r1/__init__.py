"""Temporal-R1: its reward and the other files of the system."""
