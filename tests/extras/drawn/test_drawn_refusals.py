"""Problems whose right answer is that the picture cannot be read."""

import json
from collections import Counter
from pathlib import Path

import pytest
from support.called import virc
from support.solving import open_source

from virc.data.synth.draw import SynthConfig, write
from virc.evaluation.benchmarks.registry import find
from virc.scoring.score import key_of
from virc_extras.drawn import out_of_distribution


def test_refusals_are_of_all_three_kinds_and_pass_the_check(tmp_path: Path) -> None:
    config = SynthConfig(tmp_path / "a", 24, workers=1, families=("polygons",), paths=2, refusals=1)
    rows = [json.loads(line) for line in (write(config) / "problems.jsonl").read_text().splitlines()]
    assert {row["answer"] for row in rows} == {"unreadable"}
    kinds = Counter((row["category"]["refusal"], row["category"]["pattern"], "labels" in row) for row in rows)
    assert set(kinds) == {("stranger", "refuse", False), ("small", "refuse", False), ("absent", "search", True)}
    assert 0.25 < kinds["stranger", "refuse", False] / len(rows) < 0.75
    assert virc("data", "check", tmp_path / "a", "--workers", 1).code == 0


@pytest.mark.integration
def test_out_of_distribution_pictures_of_every_kind_are_drawn_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out_of_distribution, "COUNT", 12)  # all of them would take seconds
    found = find("out-of-distribution", Path())
    rows = list(found.rows())
    assert [row.id for row in rows] == [f"out-of-distribution-{number:03d}" for number in range(1, 13)]
    assert {row.passed["category"]["kind"] for row in rows} == {"chart", "page", "texture", "static"}
    assert all(key_of(row.passed).is_refusal and open_source(row.images[0], found.base).mode == "RGB" for row in rows)
    assert [row.digest for row in found.rows()] == [row.digest for row in rows]
