"""Benchmarks, scored answers and reports."""
