"""What counts of tokens show of a server's pictures: counts as exact servers give them, without a server."""

from itertools import product

import pytest

from virc.families import registry as families
from virc.families.registry import Family
from virc.probing.scaling import Counts, Shrunk, _are_alike, _Measured, cached, enlarged, scaling

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
        (QWEN, counted(648, 81), Shrunk("down", 1152)),  # 1152 x 576 px; the nearest usual side is 1120 px
        (QWEN, counted(1024, 1024), Shrunk("fixed", sure=False)),
        (QWEN, counted(1000, 1024), Shrunk("fixed", sure=False)),  # brought to one area, they differ by some tokens
        (QWEN, Counts(12 + 800, None, 10 + 17 * 83, 17), Shrunk("down", 1280, sure=False)),  # 1280 x 640 px
        (None, counted(128, 100), Shrunk("down", 448)),  # on a grid of 28 px
        (None, counted(133, 100), Shrunk()),  # as no picture of these proportions takes on any grid
        (QWEN, Counts(), Shrunk()),
    ],
)
def test_large_pictures_are_seen_as_they_are_or_smaller_or_all_alike(
    family: Family | None, counts: Counts, expected: Shrunk
) -> None:
    assert scaling(family, counts) == expected


@pytest.mark.parametrize(
    ("counts", "pixels"),
    [
        (counted(2450, 1024), 1024 * 32 * 32),
        (counted(2450, 81), None),
        (counted(1024, 1024), None),  # all pictures are brought to one size
        (Counts(large=2462), None),
    ],
)
def test_pixels_to_which_small_pictures_are_enlarged(counts: Counts, pixels: int | None) -> None:
    assert enlarged(QWEN, counts, None) == pixels


@pytest.mark.parametrize(("large", "sure"), [(700, False), (1215, False), (3000, True)])
def test_another_request_is_saved_where_counts_are_far_apart(large: int, sure: bool) -> None:
    """By a family that counts by tiles; one request of a text may be off by 240, so that four times as many are far."""
    counts = Counts(large + MARKS, None, PICTURES * (256 + MARKS), PICTURES)
    assert scaling(families.get("internvl3"), counts) == Shrunk(sure=sure)


def test_a_count_of_a_part_of_a_request_is_one_of_less_than_its_picture() -> None:
    assert cached(counted(2450, 500), 10)
    assert not cached(counted(2450, 500), 500)
    assert not cached(Counts(large=2462), 10)


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
@pytest.mark.parametrize(
    ("family", "factor"), [("qwen3-vl", 32), ("qwen2.5-vl", 28), ("internvl3", 28), (None, 28), (None, 32)]
)
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


@pytest.mark.parametrize(("slack", "may_differ"), [(100, 150 + 50), (10_000, 150 + 250), (0, 150)])
def test_counts_are_alike_within_a_share_and_the_smaller_doubt(slack: int, may_differ: int) -> None:
    for off, alike in ((may_differ, True), (may_differ + 1, False)):
        for sign in (1, -1):
            assert _are_alike(_Measured(1000 + sign * off, 1000, slack)) is alike
    assert not _are_alike(_Measured(10, None, slack))
