"""VerlTool: the reward of its visual part and the other files of the system."""
