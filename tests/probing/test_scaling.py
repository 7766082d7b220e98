"""What counts of tokens show of a server's pictures: counts as exact servers give them, without a server."""

from itertools import product

import pytest

from virc.families import registry as families
from virc.probing.scaling import Counts, scaling

HIDDEN, MARKS, PICTURES = 10, 2, 17


def counted(large: int, small: int) -> Counts:
    """The counts of a server that sees so many tokens of a picture, beside its own and the marks around each."""
    one = HIDDEN + MARKS
    return Counts(one + large, one + small, HIDDEN + PICTURES * (small + MARKS), PICTURES)


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
