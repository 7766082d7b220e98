"""nDCG, recall, precision and reciprocal ranks: by hand, as VRAG-RL gives them, and as trec_eval does."""

import json
from math import log2
from pathlib import Path

import pytest

from virc.scoring.ranking import ndcg, precision_at, recall_at, reciprocal_rank

PUBLISHED = json.loads(Path(__file__).with_name("published").joinpath("ranking.json").read_text())
DIFFERENT = {number for numbers in PUBLISHED["differences"].values() for number in numbers}


def test_the_other_measures_by_hand() -> None:
    found, relevant = ["x", "a", "a", "c"], {"a", "b", "c"}
    assert recall_at(3, found, relevant) == pytest.approx(1 / 3)
    assert recall_at(9, found, relevant) == pytest.approx(2 / 3)
    assert precision_at(2, found, relevant) == 0.5
    assert precision_at(8, found, relevant) == 0.25  # places that are empty count
    assert reciprocal_rank(found, relevant) == 0.5
    assert recall_at(3, found, []) == precision_at(3, [], relevant) == reciprocal_rank(["x"], relevant) == 0.0


def test_ndcg_as_published_but_for_pages_found_again() -> None:
    assert len(PUBLISHED["cases"]) == 540
    for number, case in enumerate(PUBLISHED["cases"]):
        same = ndcg(case["found"], case["relevant"]) == pytest.approx(case["ndcg"], abs=1e-9)
        assert same is (number not in DIFFERENT), case
        assert same or len({*case["found"]}) < len(case["found"])


def test_all_measures_as_trec_eval_has_them() -> None:
    cases = [case for case in PUBLISHED["cases"] if "k" in case]
    assert len(cases) > 400
    for case in cases:
        found, relevant, k = case["found"], case["relevant"], case["k"]
        assert ndcg(found, relevant, k) == pytest.approx(case["ndcg_at"], abs=1e-6)
        assert recall_at(k, found, relevant) == pytest.approx(case["recall"], abs=1e-6)
        assert precision_at(k, found, relevant) == pytest.approx(case["precision"], abs=1e-6)
        assert reciprocal_rank(found, relevant) == pytest.approx(case["rank"], abs=1e-6)


def test_ndcg_by_hand() -> None:
    """Of a and c, a is second and c fourth: 1 / log2(3) + 1 / log2(5), where 1 + 1 / log2(3) were possible."""
    gained, highest = 1 / log2(3) + 1 / log2(5), 1 + 1 / log2(3)
    assert ndcg(["x", "a", "y", "c"], ["a", "c"]) == pytest.approx(gained / highest)
    assert ndcg(["x", "a", "y", "c"], ["a", "c"], k=2) == pytest.approx(1 / log2(3) / highest)
    assert ndcg(["x", "a"], ["a", "c"], k=1) == 0.0
    assert ndcg(["c", "a"], ["a", "c"]) == pytest.approx(1.0)
    assert ndcg(["a", "a"], ["a"]) == 1.0  # again is not more
    assert ndcg(["a"], ["a", "a"]) == recall_at(1, ["a"], ["a", "a"]) == 1.0  # what is relevant is listed twice
    assert ndcg([], ["a"]) == ndcg(["a"], []) == 0.0
