"""The built-in terms of rewards by kind: each is a function of its own name, registered by a decorator."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TypeVar

from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample

Score = Callable[[Sample, RewardContext], float | Awaitable[float | None] | None]
_T = TypeVar("_T", bound=float | Awaitable[float | None] | None)

TERMS: dict[str, Score] = {}
"""Name -> function; a module of this package fills it when it is imported."""


def term(function: Callable[[Sample, RewardContext], _T]) -> Callable[[Sample, RewardContext], _T]:
    """Register a term of every reply."""
    TERMS[function.__name__] = function
    return function


def answer_term(
    function: Callable[[str, Sample, RewardContext], float],
) -> Callable[[Sample, RewardContext], float | None]:
    """Register a term of replies that answer only: it gets the answer first."""

    @wraps(function)
    def score(sample: Sample, context: RewardContext) -> float | None:
        return None if sample.answer is None else function(sample.answer, sample, context)

    TERMS[function.__name__] = score
    return score
