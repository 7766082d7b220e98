"""OpenThinkIMG (V-ToolRL): its reward, and beside it all else that the system is."""
