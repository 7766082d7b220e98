"""Threads, forked children and processes in parallel."""
