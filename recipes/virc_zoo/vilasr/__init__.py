"""ViLaSR: its reward and the other files of the system."""
