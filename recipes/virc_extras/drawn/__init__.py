"""Families of drawn problems that show what crops from the file are worth."""
