"""The functions by which published programs compare answers, themselves, within a limit of CPU time.

`grade_answer` of mathruler, which EasyR1 calls, and math-verify on whole texts, which R1-V and its descendants ask
before they compare in their own way: of a reply and a solution it takes the last formula or number that it finds.
"""

import asyncio
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

from virc.core.limits.bounded import Bounded, CostlyError
from virc.rewards.context import NO_ALGEBRA, UnscoredError

_SECONDS = 2.0  # of CPU; what takes longer is not equal
_MAX_CACHED = 1024  # two terms of a reply ask the same question, and other replies are scored meanwhile
_MATHRULER = ("mathruler", "pylatexenc", "sympy")


async def equal(answer: str, reference: str) -> bool:
    """Whether mathruler's `grade_answer` finds an answer right. Raises UnscoredError where it is not installed."""
    return bool(await _asked("equal", (answer, reference), _MATHRULER))


async def boxed_equal(text: str, reference: str) -> bool:
    r"""Whether what stands in the last \boxed{} of a text is right, or the word None where it has none."""
    return bool(await _asked("boxed_equal", (text, reference), _MATHRULER))


async def texts_agree(reply: str, solution: str) -> bool:
    """Whether math-verify finds the same in a whole reply and a whole solution. Raises UnscoredError without it."""
    return bool(await _asked("texts_agree", (reply, solution), ("math_verify",)))


async def parsed_agree(reply: str, solution: str) -> float:
    """The same as 1 or 0, and -1 where there is nothing that can be parsed. Raises UnscoredError without it."""
    return await _asked("parsed_agree", (reply, solution), ("math_verify",))


async def _asked(function: str, texts: Sequence[str], needs: Sequence[str]) -> float:
    if any(find_spec(each) is None for each in needs):
        raise UnscoredError(f"{NO_ALGEBRA} and mathruler: pip install 'virc[eval]'")
    return await asyncio.to_thread(_decided, function, *texts)


@lru_cache(_MAX_CACHED)
def _decided(function: str, *texts: str) -> float:
    try:
        return float(_worker().ask(function, _SECONDS, *texts))
    except CostlyError:
        return 0.0


@cache
def _worker() -> Bounded:
    return Bounded(Path(__file__).with_name("graders_worker.py"))
