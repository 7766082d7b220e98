"""Benchmarks, in tables by kind; to add a benchmark, add an entry or a file."""
