"""Rounds: a model makes rows, stages learn from them, and the next round begins with what came of it."""
