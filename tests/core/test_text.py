"""Words and numbers in sentences, and seeds."""

import pytest

from virc.core import text
from virc.core.seeds import derived


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("No such thing."), "no such thing"), (ValueError("JSON is bad"), "JSON is bad"),
        (OSError(2, "No such file", "/home/somebody"), "no such file"), (ValueError(), "ValueError"),
        (ValueError("a\x1b[31m\nb\u202ec"), "a [31m b c"), (ValueError("x" * 999), "x" * 200 + "…"),
    ],
)  # fmt: skip
def test_an_error_becomes_a_clause(error: Exception, said: str) -> None:
    assert text.clause(error) == said


def test_seeds_differ_by_every_part_and_are_the_same_everywhere() -> None:
    seeds = [derived(7, 1, 11), derived(7, 11, 1), derived(71, 11), derived(7), derived(7, "é\ud800")]
    assert seeds[:2] == [0x74312B27, 0xAB5EDABA % 2**31]  # printf '7 1 11' | sha256sum | cut -c1-8
    assert len(set(seeds)) == 5
    assert all(0 <= seed < 2**31 for seed in map(derived, range(200)))
