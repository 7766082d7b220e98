"""The rules by which pairs of replies are kept."""

from typing import Literal

PairRule = Literal["right", "reward", "grade"]
"""As `virc.data.sample.pairing` says."""
