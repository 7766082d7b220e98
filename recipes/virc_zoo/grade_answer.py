"""How EasyR1 compares answers: the functions of mathruler themselves, within a limit of CPU time."""

import asyncio
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from virc.core.limits.bounded import Bounded, CostlyError
from virc.rewards.means import NO_ALGEBRA, UnscoredError

_SECONDS = 2.0  # of CPU; what takes longer is not equal
_NEEDS = ("mathruler", "pylatexenc", "sympy")


async def equal(answer: str, reference: str) -> bool:
    """Whether mathruler's `grade_answer` finds an answer right. Raises UnscoredError where it is not installed."""
    return await _asked("equal", answer, reference)


async def boxed_equal(text: str, reference: str) -> bool:
    r"""Whether what stands in the last \boxed{} of a text is right, or the word None where it has none."""
    return await _asked("boxed_equal", text, reference)


async def _asked(function: str, *texts: str) -> bool:
    if any(find_spec(each) is None for each in _NEEDS):
        raise UnscoredError(f"{NO_ALGEBRA} and mathruler: pip install 'virc[eval]'")
    try:
        return bool(await asyncio.to_thread(_worker().ask, function, _SECONDS, *texts))
    except CostlyError:
        return False


@cache
def _worker() -> Bounded:
    return Bounded(Path(__file__).with_name("grade_answer_worker.py"))
