"""Measures of published rewards against the published functions (`measures/*.json`)."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.tables import each_case

from virc_zoo import structure
from virc_zoo.lengths import cosine, in_group, window
from virc_zoo.paths import frechet, oriented
from virc_zoo.structure import calls, items
from virc_zoo.vigorl.vigorl import apart_bonus
from virc_zoo.vrag_rl.vrag_rl import ndcg

FOLDER = Path(__file__).parent / "measures"
VLM_R1 = ((1.0, 0.5), (-0.5, 0.0))


def published(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_bytes())


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
    "window": bonuses,
    "in_group": shares,
    "items": lambda said, right, levels: items(calls(said), calls(right), getattr(structure, levels)),
}


@each_case("name", OURS)
def test_lengths_and_items_are_worth_what_is_published(name: str) -> None:
    known = published("items") if name == "items" else published("lengths")[name]
    differing = {at for at, (*given, value) in enumerate(known["cases"])
                 if OURS[name](*given) != pytest.approx(value, abs=1e-8)}  # fmt: skip
    assert differing == {at for numbers in known["differences"].values() for at in numbers}
    assert sum(len(value) if isinstance(value, list) else 1 for *_, value in known["cases"]) >= 400


def test_published_path_distances_are_ours() -> None:
    for one, other, plain, weighted, heavier in published("paths")["cases"]:
        assert frechet(one, other) == pytest.approx(plain, abs=1e-9)
        assert frechet(one, other, oriented) == pytest.approx(weighted, abs=1e-6)
        heavy = frechet(one, other, lambda *pair: oriented(*pair, angle=1, length=0.5))
        assert heavy == pytest.approx(heavier, abs=1e-6)
    with pytest.raises(ValueError, match="no points"):
        frechet([], [(0, 0)])


def test_published_bonuses_of_points_are_ours() -> None:
    for points, bonus, *_ in published("points")["cases"]:
        assert apart_bonus(points) == pytest.approx(bonus, abs=1e-9)


def test_ndcg_is_as_published_but_for_pages_found_again() -> None:
    known = published("ranking")
    different = {number for numbers in known["differences"].values() for number in numbers}
    for number, case in enumerate(known["cases"]):
        same = ndcg(case["found"], case["relevant"]) == pytest.approx(case["ndcg"], abs=1e-9)
        assert same is (number not in different), case
        assert same or len({*case["found"]}) < len(case["found"])
    assert ndcg(["a", "a"], ["a", "a"]) == 1.0
    assert ndcg([], ["a"]) == ndcg(["a"], []) == 0.0


@each_case("text", ["a" * 200_000, "a(" * 100_000, "f(a," * 50_000, "f(a, " + " " * 200_000])
def test_calls_in_long_texts_are_read_at_once(text: str) -> None:
    start = time.process_time()
    calls(text)
    assert time.process_time() - start < 2
