"""Families of drawn problems."""
