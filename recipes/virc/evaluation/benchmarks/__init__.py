"""Benchmarks, one file each; to add a benchmark, add a file."""
