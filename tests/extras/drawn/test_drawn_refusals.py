"""`virc data synth --refusals`: problems whose right answer is that the picture cannot be read."""

import json
from collections import Counter
from pathlib import Path

import pytest
from support.called import virc

from virc.core import entry_points
from virc.data.synth.draw import SynthConfig, write


def test_refusals_are_of_all_three_kinds_and_pass_the_check(tmp_path: Path) -> None:
    config = SynthConfig(tmp_path / "a", 24, workers=1, families=("polygons",), paths=2, refusals=1)
    rows = [json.loads(line) for line in (write(config) / "problems.jsonl").read_text().splitlines()]
    assert {row["answer"] for row in rows} == {"unreadable"}
    kinds = Counter((row["category"]["refusal"], row["category"]["pattern"], "labels" in row) for row in rows)
    assert set(kinds) == {("stranger", "refuse", False), ("small", "refuse", False), ("absent", "search", True)}
    assert 0.25 < kinds["stranger", "refuse", False] / len(rows) < 0.75
    assert virc("data", "check", tmp_path / "a", "--workers", 1).code == 0


def test_refusals_without_the_extra_are_refused_before_drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_points, "own", lambda group: {})
    done = virc("data", "synth", "--to", tmp_path / "a", "--count", 1, "--refusals", 0.001)
    assert (done.code, "the extra of virc data synth --refusals is not installed" in done.err) == (3, True), done.err
    assert not (tmp_path / "a").exists()
