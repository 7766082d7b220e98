"""Drawn problems with exact answers and boxes."""
