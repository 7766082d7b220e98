"""GRiP: its reward, and beside it all else that the system is."""
