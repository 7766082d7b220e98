"""Operators over rows of this system, for `virc data make`."""
