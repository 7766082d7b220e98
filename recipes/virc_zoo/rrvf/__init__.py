"""RRVF: its tool and its reward and the other files of the system."""
