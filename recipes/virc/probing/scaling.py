"""Whether a server scales pictures, by how many tokens it says that it read.

Counts hold more than pictures: the text, whose tokens are estimated; what a server adds by itself, which nobody knows;
a mark or two around each picture. The difference of two requests with the same text holds nothing but pictures.
"""

import re
from collections.abc import Iterator

import msgspec

from virc.families.registry import Family
from virc.probing.pictures import COMMON, LARGE, SMALL
from virc.probing.result import Scaling
from virc.reasoning.resize import Grid, smart_resize
from virc.reasoning.session import Ask, Reply

_PIECE = re.compile(r"[^\w\r\n]?[^\W\d_]+|\d| ?(?:[^\w\s]|_)+[\r\n]*|\s*[\r\n]+|\s+")
"""What tokenizers cut a text into before they look up tokens: of English and JSON hardly a piece is more than one."""
_OF_A_MESSAGE, _OF_A_REPLY = 5, 3
_MARKS = 2
"""Tokens that most templates put around a picture."""
_FACTORS = (28, 32)
"""Pixels of a side that a token stands for, in models that count pictures by area."""
_AREAS = (802_816, 1_003_520, 1_048_576, 1_310_720, 1_605_632, 2_097_152)
"""Areas in pixels to which servers scale pictures."""
_MAX_HIDDEN = 600
"""Tokens that a server may add to a conversation by itself."""
_EXACT, _MEASURED, _CORRECTED, _ESTIMATED = 2, 8, 80, 240
"""How far off the tokens of a picture may be: by two counts of one text, where the small picture has as many as it has
on its grid, or has not; by two texts; by one."""
_FEW = 8
"""Pictures under which the tokens of one of them are not known exactly."""
_LEAST = 16
"""Tokens of a picture, where a server counts pictures at all."""
_ALIKE = 0.15
_WHOLE = 0.97
_NARROW, _WIDE = 1.05, 1.15
"""How many times the least side that the counts allow the largest may be: to be sure of it, to say anything."""


class Counts(msgspec.Struct):
    """Tokens that a server counted of each request beyond its text, which is estimated; None: it gave none.

    Args:
        large: of the request with the large picture.
        small: of the same request with a small picture.
        several: of a request with `pictures` small pictures.
    """

    large: int | None = None
    small: int | None = None
    several: int | None = None
    pictures: int = 0


class Shrunk(msgspec.Struct, frozen=True):
    """What the counts show.

    Args:
        longest: pixels of the longest side of the large picture as it is seen, where it is scaled down.
        sure: the count of the small picture adds nothing.
    """

    kind: Scaling | None = None
    longest: int | None = None
    sure: bool = True


class _Seen(msgspec.Struct, frozen=True):
    """Tokens of the large picture, which may be `slack` off, and of a small one.

    That has as many as it has on its grid (`usual`), or over twice as many (`enlarged`), or other than expected; the
    two may have been `compared` in requests of one text.
    """

    large: int
    small: int | None
    slack: int
    usual: bool = False
    enlarged: bool = False
    compared: bool = False


def beyond_text(reply: Reply, ask: Ask) -> int | None:
    """Tokens that the server counted beyond the text of a request, by estimate; None where it does not count."""
    if not reply.prompt_tokens:
        return None
    text = sum(len(_PIECE.findall(message.text)) + _OF_A_MESSAGE for message in ask.messages)
    return reply.prompt_tokens - text - _OF_A_REPLY


def scaling(family: Family | None, counts: Counts) -> Shrunk:
    """Whether the large picture was scaled down; `family` is of the model, None where its name says nothing."""
    if counts.large is None:
        return Shrunk()
    if family and family.by_area:
        seen = _seen(counts, family.grid)
        fixed = _same(seen) and seen.enlarged
        return Shrunk("fixed", sure=seen.slack <= _EXACT) if fixed else _at(family.grid, seen)
    seen = _seen(counts, None)
    if _same(seen):
        return Shrunk("fixed", sure=counts.small is not None)
    if family:
        far = seen.small is not None and seen.large - seen.small > 4 * seen.slack
        return Shrunk(sure=far or counts.small is not None)
    return _of_any_area(counts)


def enlarged(family: Family | None, counts: Counts, scale: float | None) -> int | None:
    """Pixels to which small pictures are enlarged before the model sees them; None: they are not, or nothing tells.

    `scale` is of the large picture as it was seen, where a box in its pixels shows it.
    """
    if counts.large is None or counts.several is None:
        return None
    grid = family.grid if family and family.by_area else _grid_of(counts.large, scale)
    seen = _seen(counts, grid)
    if grid is None or seen.small is None or _same(seen):
        return None
    return seen.small * grid.factor**2 if seen.enlarged else None


def cached(counts: Counts, small: int) -> bool:
    """Whether the count of the small picture is of a part of its request alone: some servers leave out what they kept
    of the request before, which began with the same text.
    """
    return bool(counts.pictures) and small < (counts.several or 0) / counts.pictures - _CORRECTED


def _of_any_area(counts: Counts) -> Shrunk:
    """The same of a model of which nothing is known: it has to count as one of the usual grids does, and exactly so."""
    if counts.small is None:
        return Shrunk(sure=False)
    grids = [Grid(factor, min_pixels=factor**2, max_pixels=2**26) for factor in _FACTORS]
    fits = [(off, grid.factor, grid) for grid in grids if (off := _off(grid, counts)) is not None]
    if not fits or (len(fits) > 1 and any(_seen(counts, grid).enlarged for _, _, grid in fits)):
        return Shrunk()
    grid = min(fits)[2]
    return _at(grid, _seen(counts, grid))


def _off(grid: Grid, counts: Counts) -> tuple[int, float] | None:
    """How badly the tokens of the large and of the small picture fit a grid; None: they do not."""
    seen, guess = _seen(counts, grid), _small(counts)
    if not (seen.usual or seen.enlarged) or seen.slack > _MEASURED or guess is None:
        return None
    off = min(abs(tokens - seen.large) for _, tokens in _sizes(grid))
    small = abs(guess[0] - _tokens(SMALL, grid))
    if off <= seen.slack:
        return off, small
    # tokens that a picture of the large one's proportions may have, on any grid
    possible = (rows * (2 * rows + more) for rows in range(4, 41) for more in (-1, 0, 1))
    known = seen.usual and counts.pictures > _FEW
    return (_MEASURED, small) if known and any(abs(each - seen.large) <= 1 for each in possible) else None


def _sizes(grid: Grid) -> Iterator[tuple[int, int]]:
    """(longest side in pixels, tokens) of the large picture at the sizes to which servers scale it, and as it is."""
    for side in (*COMMON, LARGE[0]):
        yield side, _tokens((side, side * LARGE[1] // LARGE[0]), grid)
    for area in _AREAS:
        width, height = smart_resize(*LARGE, msgspec.structs.replace(grid, max_pixels=max(area, grid.min_pixels)))
        yield width, width * height // grid.factor**2


def _at(grid: Grid, seen: _Seen) -> Shrunk:
    """The side for a number of tokens: one to which servers scale, if that has as many."""
    least, most = (_side(grid, seen.large + sign * seen.slack) for sign in (-1, 1))
    whole = _WHOLE * LARGE[0]
    sure = seen.slack <= _MEASURED or (most <= _NARROW * least and not least < whole <= most)
    if most > _WIDE * least:
        return Shrunk(sure=False)
    off, nearest = min((abs(tokens - seen.large), side) for side, tokens in _sizes(grid))
    side = nearest if off <= seen.slack else _side(grid, seen.large)
    return Shrunk("none", None, sure) if side >= whole else Shrunk("down", side, sure)


def _side(grid: Grid, tokens: int) -> int:
    return int(LARGE[0] * (max(tokens, 1) / _tokens(LARGE, grid)) ** 0.5)


def _same(seen: _Seen) -> bool:
    if seen.small is None or seen.small < _LEAST:
        return False
    if seen.compared:
        return abs(seen.large - seen.small) <= _MEASURED + _ALIKE / 4 * seen.small
    return abs(seen.large - seen.small) <= _ALIKE * seen.small + min(seen.slack // 2, seen.small // 4)


def _seen(counts: Counts, grid: Grid | None) -> _Seen:
    """Tokens of the large and of a small picture, without what the server adds by itself as far as that is known."""
    assert counts.large is not None
    usual = _tokens(SMALL, grid) if grid else None
    guess = _small(counts)
    if guess is None:
        return _Seen(counts.large - _MARKS, usual, _ESTIMATED)
    tokens, less, more = guess
    as_usual = usual is not None and tokens - less <= usual <= tokens + more
    small = usual if as_usual and usual is not None else max(1, round(tokens))
    large_small = usual is not None and not as_usual and small > 2 * usual
    if counts.small is not None:
        slack = _EXACT if as_usual else _MEASURED if counts.several is not None else _ESTIMATED
        return _Seen(counts.large - counts.small + small, small, slack, as_usual, large_small, True)
    if as_usual and counts.several is not None:
        hidden = counts.several - counts.pictures * (small + _MARKS)
        slack = _CORRECTED if abs(hidden) <= _CORRECTED else 2 * _CORRECTED
        return _Seen(counts.large - hidden - _MARKS, small, slack, True)
    return _Seen(counts.large - _MARKS, small, _ESTIMATED, as_usual, large_small)


def _small(counts: Counts) -> tuple[float, float, float] | None:
    """Tokens of a small picture, and how many less or more they may be; None: nothing was counted that tells."""
    count, several, alone = counts.pictures, counts.several, counts.small
    if several is not None and alone is not None and count > 1:
        off = _EXACT + 2 * _CORRECTED / (count - 1)
        return (several - alone) / (count - 1) - _MARKS, off, off
    if alone is not None:
        return alone - _MARKS, _MAX_HIDDEN, _CORRECTED
    if several is not None and count:
        off = _EXACT + _CORRECTED / count
        return several / count - _MARKS, off + _MAX_HIDDEN / count, off
    return None


def _grid_of(tokens: int, scale: float | None) -> Grid | None:
    """The grid on which the large picture, seen at a scale, has these tokens; None: the scale is unknown, or none."""
    if not scale:
        return None
    off = {side: abs(LARGE[0] * LARGE[1] * (scale / side) ** 2 - tokens) for side in _FACTORS}
    side = min(off, key=lambda each: off[each])
    return Grid(side, min_pixels=side**2, max_pixels=2**26) if off[side] <= _ALIKE * tokens else None


def _tokens(size: tuple[int, int], grid: Grid) -> int:
    width, height = smart_resize(*size, grid)
    return width * height // grid.factor**2
