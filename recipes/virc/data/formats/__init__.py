"""Formats of rows on disk, one file each; to add a format, add a file."""
