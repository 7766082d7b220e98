"""FrameThinker: its reward, its tools and the other files of the system."""
