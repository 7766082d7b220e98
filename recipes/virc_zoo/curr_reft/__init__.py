"""Curr-ReFT: its rewards, and beside it all else that the system is."""
