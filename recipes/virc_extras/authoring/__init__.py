"""Trying what one writes: a system, a tool, a reward."""
