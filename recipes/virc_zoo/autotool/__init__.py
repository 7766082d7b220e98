"""AutoTool: its rewards and the other files of the system."""
