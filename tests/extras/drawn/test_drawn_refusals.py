"""`virc data synth --refusals`: problems whose right answer is that the picture cannot be read."""

import json
from collections import Counter
from pathlib import Path

from support.called import virc

from virc.data.synth.draw import SynthConfig, write


def test_refusals_are_of_all_three_kinds_and_pass_the_check(tmp_path: Path) -> None:
    config = SynthConfig(tmp_path / "a", 24, workers=1, families=("polygons",), paths=2, refusals=1)
    rows = [json.loads(line) for line in (write(config) / "problems.jsonl").read_text().splitlines()]
    assert {row["answer"] for row in rows} == {"unreadable"}
    kinds = Counter((row["category"]["refusal"], row["category"]["pattern"], "labels" in row) for row in rows)
    assert set(kinds) == {("stranger", "refuse", False), ("small", "refuse", False), ("absent", "search", True)}
    assert 0.25 < kinds["stranger", "refuse", False] / len(rows) < 0.75
    assert virc("data", "check", tmp_path / "a", "--workers", 1).code == 0
