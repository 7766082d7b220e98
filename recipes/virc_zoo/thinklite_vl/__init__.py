"""ThinkLite-VL: its operator over rows, and beside it all else that the system is."""
