r"""Credit for calls of functions that are right in part. No text of a reply makes one of these functions raise."""

import re
from collections.abc import Hashable, Sequence

Item = tuple[Hashable, ...]
"""What is compared part by part, such as a function with its arguments: `("change_size", "0", "large")`."""
Level = tuple[tuple[int, ...], float]
"""The places in which two items agree, from 0, and what such a pair is worth."""

FULL: Sequence[Level] = (((0, 1, 2), 1.0),)
"""Equal items alone count."""
PARTIAL: Sequence[Level] = (*FULL, ((0, 1), 0.5), ((0, 2), 0.5), ((0,), 0.25))
"""Half for a function with one of its two arguments, a quarter for the function alone."""
PENALTY: Sequence[Level] = (*FULL, ((0, 1), -0.25), ((0, 2), -0.25), ((0,), -0.5))
"""What is right only in part costs."""

_CALL = re.compile(r"\b(\w+)\((\w+),\s*'?(\w+)'?\)")


def calls(text: str) -> list[tuple[str, str, str]]:
    """The calls `function(first, second)` in a text, in their order; the second argument may stand in single quotes.

    Source: tanhuajie/Reason-RFT@d0a8070, train/stage_rl/reward.py, extract_items.
    """
    return _CALL.findall(text)


def items(said: Sequence[Item], right: Sequence[Item], levels: Sequence[Level] = PARTIAL) -> float:
    """How much of the right items was said: 1 at most, and less than 0 only where levels cost.

        different / all items of `said` * sum of the worths of all pairs / number of items of the longer side

    Items that are there twice count once, and each repetition lowers the first factor. Level by level, each item that
    was said is paired with the first right one that agrees with it in the places of the level; both are then taken.
    0 where one side has no items.
    Source: tanhuajie/Reason-RFT@d0a8070, train/stage_rl/reward.py: func_accuracy_reward (PARTIAL),
    only_full_func_accuracy_reward (FULL), penalty_func_accuracy_reward (PENALTY). There items are in the order of a
    Python set, which differs from run to run; which pairs come about below the first level may depend on it.
    """
    mine, theirs = list(dict.fromkeys(said)), list(dict.fromkeys(right))
    if not mine or not theirs:
        return 0.0
    different, longer, worth = len(mine) / len(said), max(len(mine), len(theirs)), 0.0
    for places, value in levels:
        unpaired = []
        for one in mine:
            parts = _parts(one, places)
            other = next((each for each in theirs if _parts(each, places) == parts), None)
            if other is None:
                unpaired.append(one)
            else:
                theirs.remove(other)
                worth += value
        mine = unpaired
    return different * worth / longer


def _parts(item: Item, places: Sequence[int]) -> list[Hashable]:
    return [item[at] for at in places if at < len(item)]
