"""Operators over rows, one file each; `virc_extras.make.operator` says what is in such a file."""
