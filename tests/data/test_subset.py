"""Subsets, splits and mixes: exact sizes, the same rows for the same seed, no picture on both sides."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virc.data.convert.subset import Groups, score, shares, subset

KEYS = st.lists(st.one_of(st.integers(), st.text(max_size=3)), max_size=40)
SEEDS = st.integers(0, 5)


def scores(seed: int, keys: list[int | str]) -> list[int]:
    return [score(seed, key) for key in keys]


@pytest.mark.integration
@settings(max_examples=200)
@given(KEYS, SEEDS, st.data())
def test_a_subset_has_exactly_as_many_rows_and_lies_within_a_larger_one(
    keys: list[int | str], seed: int, data: st.DataObject
) -> None:
    more = data.draw(st.integers(0, len(keys)))
    less = data.draw(st.integers(0, more))
    large, small = subset(scores(seed, keys), more), subset(scores(seed, keys), less)
    assert (sum(large), sum(small)) == (more, less)
    assert all(large[row] for row in range(len(keys)) if small[row])


@pytest.mark.integration
@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 200)), min_size=1, max_size=6), st.integers(0, 500))
def test_a_mix_has_its_weights_to_within_a_row(pairs: list[tuple[int, int]], total: int) -> None:
    weights = [Fraction(weight, 7) for weight, _ in pairs]
    sizes = [size for _, size in pairs]
    counts = shares(weights, sizes, total)
    assert sum(counts) == total
    assert all(abs(count - total * weight / sum(weights)) < 1 for count, weight in zip(counts, weights, strict=True))
    largest = shares(weights, sizes)
    assert all(count <= size for count, size in zip(largest, sizes, strict=True))
    one_more = shares(weights, sizes, sum(largest) + len(weights) + int(sum(weights) / min(weights)) + 1)
    assert any(count > size for count, size in zip(one_more, sizes, strict=True))


ROWS = st.lists(st.lists(st.integers(0, 25), min_size=1, max_size=3), min_size=1, max_size=40)


@pytest.mark.integration
@settings(max_examples=200)
@given(ROWS, SEEDS, st.floats(0, 1))
def test_no_picture_stands_on_both_sides_of_a_split(rows: list[list[int]], seed: int, share: float) -> None:
    groups = Groups(seed)
    for pictures in rows:
        groups.add(pictures)
    part = groups.part(share)
    sides = [
        {picture for pictures, side in zip(rows, part, strict=True) if side == which for picture in pictures}
        for which in (0, 1)
    ]
    assert not sides[0] & sides[1]
    assert sum(part) <= round(share * len(rows))


def test_a_split_depends_on_the_pictures_and_the_seed_not_on_the_order() -> None:
    def part(order: list[int], seed: int) -> set[int]:
        groups = Groups(seed)
        for row in order:
            groups.add([row // 2, f"also {row // 2}"][:: 1 - 2 * (row % 2)])
        return {row for row, side in zip(order, groups.part(0.3), strict=True) if side}

    rows = list(range(200))
    assert part(rows, 1) == part(rows[::-1], 1)
    assert part(rows, 1) != part(rows, 2)
