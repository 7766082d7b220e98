"""Rounds: a model makes rows, stages learn from them, and the next round begins with the result."""
