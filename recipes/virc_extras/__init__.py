"""Whole features that `virc` can do without: each folder has its commands and its code; docs/extras has its page.

The core (`virc`, `virc_cli`) imports nothing of it; it finds what is here by the entry points of pyproject.toml.
"""
