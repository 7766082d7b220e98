"""Families of drawn problems whose answer the usual first view of a file does not show."""
