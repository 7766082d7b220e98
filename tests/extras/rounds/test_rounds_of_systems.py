"""`rounds` in a system's YAML; `sentences.yaml` has what is said of mistakes in it."""

from pathlib import Path

import pytest
from support.called import virc

from virc_extras.rounds.system_key import Step, check_rounds

STAGES = """name: mine
stages:
  one: {kind: sft, settings: {base: tiny}}
  two: {kind: dpo, settings: {after: one}}
"""
ROUNDS = """rounds:
  - sample: {data: rows.jsonl, samples: 4, pairs: right, margin: 0.5}
  - {train: two, from: base, data: sample, merge: true}
"""


def written(folder: Path, rounds: str) -> Path:
    file = folder / "mine.yaml"
    file.write_text(STAGES + rounds)
    return file


def test_steps_are_shown_as_they_are_written(tmp_path: Path) -> None:
    shown = virc("systems", "show", written(tmp_path, ROUNDS), "--json").json["rounds"]
    assert shown == [
        {"sample": {"data": "rows.jsonl", "samples": 4, "pairs": "right", "margin": 0.5}},
        {"train": "two", "from": "base", "data": "sample", "merge": True},
    ]


@pytest.mark.parametrize("name", ["base", "last"])
def test_no_stage_of_a_round_has_a_name_that_means_something_else(name: str) -> None:
    with pytest.raises(ValueError, match=f"step 2 of `rounds` trains '{name}', a name that `from` has another meaning"):
        check_rounds((Step(train="one"), Step(train=name)), {"one": "sft", name: "sft"})
