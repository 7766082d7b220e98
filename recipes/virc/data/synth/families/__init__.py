"""Families of drawn problems, one file each; to add a family, add a file."""
