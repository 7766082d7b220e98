"""Checks a stage's rows before its engine starts, in one process of the engine's interpreter."""
