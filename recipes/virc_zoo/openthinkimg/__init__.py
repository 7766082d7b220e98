"""OpenThinkIMG (V-ToolRL): its reward and the other files of the system."""
