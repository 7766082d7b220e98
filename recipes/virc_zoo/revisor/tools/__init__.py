"""The tool of REVISOR."""
