"""ThinkLite-VL: its reward, its operator over rows and the other files of the system."""
