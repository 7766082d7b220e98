"""The tool of RRVF."""
