"""What counts of tokens show of a server's pictures: counts as exact servers give them, without a server."""

from itertools import product

import pytest

from virc.families import registry as families
from virc.families.registry import Family
from virc.probing.scaling import Counts, Shrunk, scaling

QWEN = families.get("qwen3-vl")  # a token is 32 x 32 px: 2240 x 1120 px are 2,450 of them, 288 x 288 px are 81
HIDDEN, MARKS, PICTURES = 10, 2, 17


def counted(large: int, small: int) -> Counts:
    """The counts of a server that sees so many tokens of a picture, beside its own and the marks around each."""
    one = HIDDEN + MARKS
    return Counts(one + large, one + small, HIDDEN + PICTURES * (small + MARKS), PICTURES)


@pytest.mark.parametrize(
    ("family", "counts", "expected"),
    [
        (QWEN, counted(2450, 81), Shrunk("none")),
        (QWEN, counted(512, 81), Shrunk("down", 1024)),  # 1024 x 512 px
        (QWEN, counted(1024, 1024), Shrunk("fixed", sure=False)),
        (None, counted(128, 100), Shrunk("down", 448)),  # on a grid of 28 px
        (None, counted(133, 100), Shrunk()),  # as no picture of these proportions takes on any grid
    ],
)
def test_large_pictures_are_seen_as_they_are_or_smaller_or_all_alike(
    family: Family | None, counts: Counts, expected: Shrunk
) -> None:
    assert scaling(family, counts) == expected


def sent(longest: int, factor: int, hidden: int, marks: int, counted: str, least: int = 0) -> Counts:
    """The counts of a server that scales pictures to a longest side, and small ones up to `least` tokens."""
    large = round(longest / factor) * round(longest / 2 / factor)
    one, small = hidden + marks, max(round(288 / factor) ** 2, least)
    several = hidden + PICTURES * (small + marks) if "several" in counted else None
    alone = one + small if "small" in counted else None
    return Counts(one + large, alone, several, PICTURES if several else 0)


SERVERS = [(hidden, marks) for hidden in (0, 10, 90, 300) for marks in (0, 2)]
SIDES = (768, 1024, 1280, 1536, 2048, 2240)


@pytest.mark.parametrize("counted", ["small several", "small"])
@pytest.mark.parametrize(("family", "factor"), [("qwen3-vl", 32), ("internvl3", 28)])
def test_the_side_of_a_scaled_picture_is_found_whatever_a_server_adds(
    family: str | None, factor: int, counted: str
) -> None:
    known = families.get(family) if family else None
    for (hidden, marks), side in product(SERVERS, SIDES):
        found = scaling(known, sent(side, factor, hidden, marks, counted))
        by_area = not known or known.by_area
        expected = ("none", None) if side == 2240 else ("down", side)
        assert (found.kind, found.longest) == (expected if by_area else (None, None)), (hidden, marks, side)
        assert found.sure


@pytest.mark.parametrize("counted", ["", "several"])
def test_a_side_is_not_called_sure_where_what_a_server_adds_can_be_half_of_it(counted: str) -> None:
    for (hidden, marks), side in product(SERVERS, (448, *SIDES)):
        found = scaling(QWEN, sent(side, 32, hidden, marks, counted))
        right = ("none", None) if side == 2240 else ("down", side)
        assert (found.kind, found.longest) == right or not found.sure, (hidden, marks, side)
