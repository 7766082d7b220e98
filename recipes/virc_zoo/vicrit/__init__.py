"""ViCrit: its rewards, and beside them all else that the system is."""
