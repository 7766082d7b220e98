"""Operators over rows, one file each; `virc.data.make.operator` says what is in such a file."""
