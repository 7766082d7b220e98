"""Drawn problems that show what crops from the file are worth, and pictures that a model is to refuse."""
