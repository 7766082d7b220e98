"""What counts of tokens show of a server's pictures: counts as exact servers give them, without a server."""

import pytest

from virc.families import registry as families
from virc.probing.scaling import Counts, Shrunk, cached, enlarged, scaling

QWEN = families.get("qwen3-vl")  # a token is 32 x 32 px: 2240 x 1120 px are 2,450 of them, 288 x 288 px are 81
HIDDEN, MARKS, PICTURES = 10, 2, 17


def counted(large: int, small: int) -> Counts:
    """The counts of a server that sees so many tokens of a picture, beside its own and the marks around each."""
    one = HIDDEN + MARKS
    return Counts(one + large, one + small, HIDDEN + PICTURES * (small + MARKS), PICTURES)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (counted(2450, 81), Shrunk("none")),
        (counted(512, 81), Shrunk("down", 1024)),  # 1024 x 512 px
        (counted(1024, 1024), Shrunk("fixed", sure=False)),
        (Counts(), Shrunk()),
    ],
)
def test_large_pictures_are_seen_as_they_are_or_smaller_or_all_alike(counts: Counts, expected: Shrunk) -> None:
    assert scaling(QWEN, counts) == expected


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
    found = enlarged(QWEN, counts, None)
    assert found == pixels if pixels is None else found == pytest.approx(pixels, rel=0.01)


def test_a_count_of_a_part_of_a_request_is_one_of_less_than_its_picture() -> None:
    assert cached(counted(2450, 500), 10)
    assert not cached(counted(2450, 500), 500)
    assert not cached(Counts(large=2462), 10)
