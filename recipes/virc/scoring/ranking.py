"""How well pages, or what else was searched for, are ranked. What was found is in its order, the best first.

What is found again counts at its first place alone, and later places stay where they are.
"""

from collections.abc import Collection, Sequence
from math import log2


def ndcg(found: Sequence[str], relevant: Collection[str], k: int | None = None) -> float:
    """The discounted gain of what was found over the highest possible, 0 to 1; 0 where nothing is relevant.

    The gain at place i, from 1, is 1 / log2(i + 1) of what is relevant; the highest possible has all that is relevant
    first. Of the first `k` places; None: of all.
    Source: VRAG-RL (Alibaba-NLP/VRAG@24f8d05, VRAG-RL/verl/workers/reward_manager/rm.py, ndcg), where pages are found
    once: its function counts a page at each of its places.
    """
    highest = sum(1 / log2(place + 1) for place in range(1, len({*relevant}) + 1)[:k])
    gained = sum(1 / log2(place + 1) for place in _places(found, relevant, k))
    return gained / highest if highest else 0.0


def recall_at(k: int, found: Sequence[str], relevant: Collection[str]) -> float:
    """The share of what is relevant that is among the first `k`, 0 to 1; 0 where nothing is relevant."""
    return len(_places(found, relevant, k)) / len({*relevant}) if relevant else 0.0


def precision_at(k: int, found: Sequence[str], relevant: Collection[str]) -> float:
    """The share of the first `k` places that have something relevant, 0 to 1; places that are empty have not."""
    return len(_places(found, relevant, k)) / k


def reciprocal_rank(found: Sequence[str], relevant: Collection[str]) -> float:
    """1 over the first place that has something relevant, 0 without one; its mean over questions is the MRR."""
    return next((1 / place for place in _places(found, relevant)), 0.0)


def _places(found: Sequence[str], relevant: Collection[str], k: int | None = None) -> list[int]:
    first = {each: place for place, each in reversed([*enumerate(found[:k], 1)])}
    return sorted(place for each, place in first.items() if each in {*relevant})
