"""REVISOR: its reward, its tool and the other files of the system."""
