"""PyVision-RL: its reward and the other files of the system."""
