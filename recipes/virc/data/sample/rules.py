"""The rules by which pairs of replies are kept."""

from typing import Literal

PairRule = Literal["right", "reward", "grade", "shorter"]
"""As `virc.data.sample.pairing` says."""
