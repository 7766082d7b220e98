"""InternVL3.5: its reward and the other files of the system."""
