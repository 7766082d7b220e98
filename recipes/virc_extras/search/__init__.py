"""The tool `search`: passages of a folder of pages."""
