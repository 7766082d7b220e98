"""Tools of FrameThinker."""
