"""Rows of one format become rows of another."""
