"""MPCC: what this package has of it."""
