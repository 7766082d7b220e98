"""ThinkLite-VL: its operator over rows and the other files of the system."""
