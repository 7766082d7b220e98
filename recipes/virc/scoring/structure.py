r"""Credit for parts: calls of functions with their arguments, cells of tables, and numbers that are nearly right.

Pure functions of texts, numbers and sequences of them, which any reward file may import. No text of a reply makes one
of them raise.
"""

import math
import re
from collections.abc import Hashable, Mapping, Sequence

Item = tuple[Hashable, ...]
"""What is compared part by part, such as a function with its arguments: `("change_size", "0", "large")`."""
Level = tuple[tuple[int, ...], float]
"""The places in which two items agree, from 0, and what such a pair is worth."""
Table = Mapping[tuple[str, str], str]
"""The text of each cell by the names of its row and its column."""

FULL: Sequence[Level] = (((0, 1, 2), 1.0),)
"""Equal items alone count."""
PARTIAL: Sequence[Level] = (*FULL, ((0, 1), 0.5), ((0, 2), 0.5), ((0,), 0.25))
"""Half for a function with one of its two arguments, a quarter for the function alone."""
PENALTY: Sequence[Level] = (*FULL, ((0, 1), -0.25), ((0, 2), -0.25), ((0,), -0.5))
"""What is right only in part costs."""

_CALL = re.compile(r"\b(\w+)\((\w+),\s*'?(\w+)'?\)")
_LINE = re.compile(r"[|\s:-]*")  # between the head of a table and its rows


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


def table(text: str) -> dict[tuple[str, str], str]:
    """The cells of a table in Markdown, or of lines whose cells `|` separates: the first line names the columns, the
    first cell of each further line its row. Names are in small letters; empty where there is no table.

    Of cells with the same names the last counts.
    """
    rows = [_cells(line) for line in text.splitlines() if "|" in line and not _LINE.fullmatch(line)]
    if not rows:
        return {}
    (_, *columns), *lines = rows
    return {(name.lower(), column.lower()): cell
            for name, *cells in lines for column, cell in zip(columns, cells, strict=False)}  # fmt: skip


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [cell.strip() for cell in inner.split("|")]


def cells(said: Table, right: Table, tolerance: float = 0.05) -> float:
    """How much of a table is right, 0 to 1: 2 * right cells / (cells that were said + cells of the right table).

    A cell is right where the other table has one of the same row and column, and both agree (`agree`). Both empty: 1.
    Source: the F1 over cells by their row and column of Liu et al., DePlot (arXiv:2212.10505), section 3.2, where
    names and values may be nearly right; here names are equal, and a cell is right or wrong.
    """
    count = len(said) + len(right)
    hits = sum(agree(cell, right[name], tolerance) for name, cell in said.items() if name in right)
    return 2 * hits / count if count else 1.0


def agree(said: str, right: str, tolerance: float = 0.05) -> bool:
    """Whether a number is off by no more than this share of the right one; other texts: equal but for case.

    `12%` is 0.12.
    Source: google-research/pix2struct@945f27e, pix2struct/metrics.py, relaxed_correctness. There 0 is compared as a
    text, so that `0.0` is wrong.
    """
    one, other = _number(said), _number(right)
    if one is None or other is None:
        return said.strip().lower() == right.strip().lower()
    return abs(one - other) <= tolerance * abs(other)


def _number(text: str) -> float | None:
    try:
        value = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def closeness(said: float, right: float, full: float = 0.05, none: float = 0.20) -> float:
    """How near a number is to the right one, 0 to 1: `faded` by the share of the right one that it is off.

    What is not finite is worth 0. Of 0, everything else is off by infinity.
    Source: tanhuajie/Reason-RFT@d0a8070, train/stage_rl/reward.py, math_accuracy_reward. There no answer scores where
    the right number is 0.
    """
    if not math.isfinite(said) or not math.isfinite(right):
        return 0.0
    away = abs(said - right)
    return faded(away / abs(right) if right else math.inf if away else 0.0, full, none)


def faded(error: float, full: float = 0.05, none: float = 0.20) -> float:
    """1 up to the error `full`, 0 from `none` on, and between them half a cosine.

    (1 + cos(pi * (error - full) / (none - full))) / 2
    """
    if error <= full:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (error - full) / (none - full))) if error < none else 0.0
