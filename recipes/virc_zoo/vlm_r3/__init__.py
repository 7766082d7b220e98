"""VLM-R3: its reward and the other files of the system."""
