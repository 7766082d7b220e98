"""Runs Python that a model wrote, in a process without network and without this machine's files and processes."""
