"""What lengths are worth, by hand and against the published functions (`published/lengths.json`)."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.tables import each_case

from virc.scoring.lengths import cosine, in_group, overlong, window

PUBLISHED = json.loads((Path(__file__).parent / "published" / "lengths.json").read_text())
VLM_R1 = ((1.0, 0.5), (-0.5, 0.0))


def bonuses(accuracies: Sequence[float], lengths: Sequence[int]) -> list[float]:
    """What Video-R1 adds to the replies to one prompt."""
    right = [each > 0.1 for each in accuracies]
    return [window(each) if ok and sum(right) > 1 else 0.0 for ok, each in zip(right, lengths, strict=True)]


def shares(right: Sequence[bool], lengths: Sequence[int]) -> list[float]:
    """What Reason-RFT adds to the replies to one prompt."""
    ends = min(lengths), max(lengths)
    return [0.05 * in_group(each, *ends, ok) for ok, each in zip(right, lengths, strict=True)]


OURS: dict[str, Callable[..., Any]] = {
    "cosine": cosine,
    "cosine_vlm_r1": lambda length, right: cosine(length, 1024, right, *VLM_R1),
    "overlong": overlong,
    "window": bonuses,
    "in_group": shares,
}


@each_case("name", OURS)
def test_published_values_are_ours(name: str) -> None:
    known = PUBLISHED[name]
    differing = {at for at, (*given, value) in enumerate(known["cases"])
                 if OURS[name](*given) != pytest.approx(value, abs=1e-8)}  # fmt: skip
    assert differing == {at for numbers in known["differences"].values() for at in numbers}
    assert sum(len(value) if isinstance(value, list) else 1 for *_, value in known["cases"]) >= 400


@pytest.mark.parametrize(
    ("length", "right", "worth"),
    [(0, True, 1), (500, True, 0.75), (1000, True, 0.5), (5000, True, 0.5), (0, False, -1), (500, False, -0.75),
     (1000, False, -0.5), (250, True, 0.9267766953)],
)  # fmt: skip
def test_short_right_replies_and_long_wrong_ones_are_worth_more(length: int, right: bool, worth: float) -> None:
    assert cosine(length, 1000, right) == pytest.approx(worth)


@pytest.mark.parametrize(
    ("length", "worth"), [(0, 0), (16384, 0), (18432, -0.5), (20480, -1), (20481, -1), (17408, -0.25)]
)
def test_the_last_tokens_are_punished_more_and_more(length: int, worth: float) -> None:
    assert overlong(length, 20480, 4096) == pytest.approx(worth)


def test_without_a_margin_only_what_is_too_long_is_punished() -> None:
    assert [overlong(each, 10, 0) for each in (10, 11)] == [0, -1]


def test_lengths_in_the_window_get_the_bonus() -> None:
    assert [window(each) for each in (319, 320, 512, 513)] == [0, 0.2, 0.2, 0]
    assert window(5, 5, 5, 1) == 1


def test_short_replies_of_a_group_are_worth_more() -> None:
    assert [in_group(each, 100, 300, True) for each in (100, 200, 250, 300)] == [0.5, 0, -0.25, -0.5]
    assert [in_group(each, 100, 300, False) for each in (100, 300)] == [0, -0.5]
    assert in_group(100, 100, 100, True) == 0
