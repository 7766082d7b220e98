"""Which module estimates what stages of a kind need."""

from collections.abc import Mapping
from typing import Any, Protocol

from virc.models.sizes import Shape
from virc.training.estimate import rl, sft
from virc.training.estimate.sft import Estimate


class Estimator(Protocol):
    """A module that estimates; `config` is of the type that the stage's kind has."""

    def estimate(self, config: Any, shape: Shape, longest: int, *args: Any, **kwargs: Any) -> Estimate:
        """What the stage needs."""


ESTIMATORS: Mapping[str, Estimator] = {"sft": sft, "rl": rl}
"""Kind of a stage -> its estimator."""
