"""Whether a server scales pictures, by how many tokens it says that it read.

Counts contain more than pictures: the text, whose tokens are estimated; what a server adds by itself, which is unknown;
a mark or two around each picture. The difference of two requests with the same text contains nothing but pictures.
`_measured` makes of the counts what the large and a small picture take, and how far off that may be; `scaling` and
`enlarged` compare it with the patch grids of models.
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
_OF_A_MESSAGE, _OF_A_REPLY = 5, 3  # tokens of a chat template around them
_MARKS = 2
"""Tokens that most templates put around a picture."""
_FACTORS = (28, 32)
"""Pixels of a side that a token stands for, in models that count pictures by area."""
_AREAS = (802_816, 1_003_520, 1_048_576, 1_310_720, 1_605_632, 2_097_152)
"""Areas in pixels to which servers scale pictures."""
_MAX_HIDDEN = 600
"""Tokens that a server may add to a conversation by itself."""
_EXACT, _MEASURED, _CORRECTED, _ESTIMATED = 2, 8, 80, 240
"""How many tokens a picture's count may be off. Exact and measured: two requests had the same text, and the small
picture takes as many tokens as on the model's grid, or does not. Corrected: two texts were counted. Estimated: one.
"""
_FEW = 8
"""Up to so many small pictures, their common count does not tell exactly what one of them takes."""
_LEAST = 16
"""Fewest tokens of a picture, if a server counts pictures at all."""
_ALIKE = 0.15  # two counts that differ by a smaller part are the same
_WHOLE = 0.97  # a side that is seen at a larger part of its length is not scaled down
_NARROW, _WIDE = 1.05, 1.15
"""The counts allow sides from a least to a largest one. The largest may be so many times the least: to be sure of the
side; to say anything about it.
"""


class Counts(msgspec.Struct):
    """Tokens that a server counted of each request beyond its text, which is estimated; None: it gave none."""

    large: int | None = None  # of the request with the large picture
    small: int | None = None  # of the same request with a small picture
    several: int | None = None  # of a request with so many small `pictures`
    pictures: int = 0


class Shrunk(msgspec.Struct, frozen=True):
    """What the counts show."""

    kind: Scaling | None = None
    longest: int | None = None  # pixels of the longest side of the large picture as it is seen, if it is scaled down
    sure: bool = True  # another request, for the tokens of the small picture, would add nothing


class _Measured(msgspec.Struct, frozen=True):
    """What the counts tell of the two pictures."""

    large: int  # tokens
    small: int | None  # tokens; None: they are unknown
    slack: int  # how many tokens `large` may be off
    usual: bool = False  # the small picture takes as many tokens as on the model's grid
    enlarged: bool = False  # it takes over twice as many; if it is neither, the grid is another
    has_one_text: bool = False  # both were counted in requests with the same text


class _Estimate(msgspec.Struct, frozen=True):
    """Tokens of the small picture; they may be up to `less` fewer or `more` more."""

    tokens: float
    less: float
    more: float


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
        measured = _measured(counts, family.grid)
        fixed = _are_alike(measured) and measured.enlarged
        return Shrunk("fixed", sure=measured.slack <= _EXACT) if fixed else _shrunk_on(family.grid, measured)
    measured = _measured(counts, None)
    if _are_alike(measured):
        return Shrunk("fixed", sure=counts.small is not None)
    if family:
        far = measured.small is not None and measured.large - measured.small > 4 * measured.slack
        return Shrunk(sure=far or counts.small is not None)
    return _scaling_on_usual_grids(counts)


def enlarged(family: Family | None, counts: Counts, scale: float | None) -> int | None:
    """Pixels to which small pictures are enlarged before the model sees them; None: they are not, or nothing tells.

    `scale` is the part of its size at which the large picture was seen, if a box in its pixels shows that.
    """
    if counts.large is None or counts.several is None:
        return None
    grid = family.grid if family and family.by_area else _grid_of(counts.large, scale)
    measured = _measured(counts, grid)
    if grid is None or measured.small is None or _are_alike(measured):
        return None
    return measured.small * grid.factor**2 if measured.enlarged else None


def cached(counts: Counts, small: int) -> bool:
    """Whether a server left out of the count with the small picture what it cached of the request before."""
    return bool(counts.pictures) and small < (counts.several or 0) / counts.pictures - _CORRECTED


def _scaling_on_usual_grids(counts: Counts) -> Shrunk:
    """As `scaling`, for a model of which nothing is known: its counts have to fit one of the usual grids."""
    if counts.small is None:
        return Shrunk(sure=False)
    grids = [Grid(factor, min_pixels=factor**2, max_pixels=2**26) for factor in _FACTORS]
    fits = [(misfit, grid.factor, grid) for grid in grids if (misfit := _misfit(grid, counts)) is not None]
    if not fits or (len(fits) > 1 and any(_measured(counts, grid).enlarged for _, _, grid in fits)):
        return Shrunk()
    _, _, best = min(fits)
    return _shrunk_on(best, _measured(counts, best))


def _misfit(grid: Grid, counts: Counts) -> tuple[int, float] | None:
    """How many tokens the large and the small picture take more or less than on a grid; None: it is another grid."""
    measured, estimate = _measured(counts, grid), _estimate_small(counts)
    if not (measured.usual or measured.enlarged) or measured.slack > _MEASURED or estimate is None:
        return None
    off_large = min(abs(tokens - measured.large) for _, tokens in _sizes(grid))
    off_small = abs(estimate.tokens - _tokens(SMALL, grid))
    if off_large <= measured.slack:
        return off_large, off_small
    # tokens that a picture of the large one's proportions may have, on any grid
    possible = (rows * (2 * rows + more) for rows in range(4, 41) for more in (-1, 0, 1))
    is_small_known = measured.usual and counts.pictures > _FEW
    is_possible = is_small_known and any(abs(each - measured.large) <= 1 for each in possible)
    return (_MEASURED, off_small) if is_possible else None


def _sizes(grid: Grid) -> Iterator[tuple[int, int]]:
    """(longest side in pixels, tokens) of the large picture at the sizes to which servers scale it, and as it is."""
    for side in (*COMMON, LARGE[0]):
        yield side, _tokens((side, side * LARGE[1] // LARGE[0]), grid)
    for area in _AREAS:
        width, height = smart_resize(*LARGE, msgspec.structs.replace(grid, max_pixels=max(area, grid.min_pixels)))
        yield width, width * height // grid.factor**2


def _shrunk_on(grid: Grid, measured: _Measured) -> Shrunk:
    """What the tokens of the large picture show on a grid: if some usual size takes as many, it is seen at that one."""
    least, most = (_side(grid, measured.large + sign * measured.slack) for sign in (-1, 1))
    unscaled = _WHOLE * LARGE[0]
    sure = measured.slack <= _MEASURED or (most <= _NARROW * least and not least < unscaled <= most)
    if most > _WIDE * least:
        return Shrunk(sure=False)
    off, nearest = min((abs(tokens - measured.large), side) for side, tokens in _sizes(grid))
    side = nearest if off <= measured.slack else _side(grid, measured.large)
    return Shrunk("none", None, sure) if side >= unscaled else Shrunk("down", side, sure)


def _side(grid: Grid, tokens: int) -> int:
    """The longest side in pixels at which the large picture takes so many tokens."""
    return int(LARGE[0] * (max(tokens, 1) / _tokens(LARGE, grid)) ** 0.5)


def _are_alike(measured: _Measured) -> bool:
    """Whether the large picture takes about as many tokens as the small one, of a thirtieth of its area."""
    large, small = measured.large, measured.small
    if small is None or small < _LEAST:
        return False
    if measured.has_one_text:
        return abs(large - small) <= _MEASURED + _ALIKE / 4 * small
    return abs(large - small) <= _ALIKE * small + min(measured.slack // 2, small // 4)


def _measured(counts: Counts, grid: Grid | None) -> _Measured:
    """Tokens of the large and of a small picture, without what the server adds by itself as far as that is known."""
    assert counts.large is not None
    on_grid = _tokens(SMALL, grid) if grid else None
    estimate = _estimate_small(counts)
    if estimate is None:
        return _Measured(counts.large - _MARKS, on_grid, _ESTIMATED)
    usual, small = False, max(1, round(estimate.tokens))
    if on_grid is not None and estimate.tokens - estimate.less <= on_grid <= estimate.tokens + estimate.more:
        usual, small = True, on_grid
    enlarged = on_grid is not None and not usual and small > 2 * on_grid
    if counts.small is not None:
        slack = _MEASURED if counts.several is not None else _ESTIMATED
        large = counts.large - counts.small + small
        return _Measured(large, small, _EXACT if usual else slack, usual, enlarged, has_one_text=True)
    if usual and counts.several is not None:
        hidden = counts.several - counts.pictures * (small + _MARKS)
        slack = _CORRECTED if abs(hidden) <= _CORRECTED else 2 * _CORRECTED
        return _Measured(counts.large - hidden - _MARKS, small, slack, usual)
    return _Measured(counts.large - _MARKS, small, _ESTIMATED, usual, enlarged)


def _estimate_small(counts: Counts) -> _Estimate | None:
    """Tokens of a small picture; None: no count tells."""
    count, several, alone = counts.pictures, counts.several, counts.small
    if several is not None and alone is not None and count > 1:
        off = _EXACT + 2 * _CORRECTED / (count - 1)
        return _Estimate((several - alone) / (count - 1) - _MARKS, off, off)
    if alone is not None:
        return _Estimate(alone - _MARKS, _MAX_HIDDEN, _CORRECTED)
    if several is not None and count:
        off = _EXACT + _CORRECTED / count
        return _Estimate(several / count - _MARKS, off + _MAX_HIDDEN / count, off)
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
