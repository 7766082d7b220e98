"""RRVF: its tool and its reward, and beside them all else that the system is."""
