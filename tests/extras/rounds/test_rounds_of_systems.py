"""`rounds` in a system's YAML: what is read, and one sentence for each mistake."""

from pathlib import Path

import pytest
from support.called import virc

from virc.core.errors import ConfigError
from virc.systems import registry as systems
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


@pytest.mark.parametrize(
    ("step", "line", "said"),
    [
        ("{train: three}", 5, "trains 'three', which is no stage; stages: one, two"),
        ("{train: one, from: two}", 5, "is from 'two', which is `base`, `last` or a stage that the rounds train"),
        ("{sample: {from: one}}", 5, "is from 'one'"),
        ("{sample: {samples: 4}, train: one}", 5, "a step has either `sample` or `train`"),
        ("{data: x.jsonl}", 5, "a step has either `sample` or `train`"),
        ("{sample: {samples: 4}, from: base}", 5, "stand inside `sample`"),
        ("{sample: {margin: 0.5}}", 6, "`margin` is of pairs"),
        ("{sample: {sampels: 4}}", 6, "did you mean 'samples'?"),
        ("{sample: {samples: 0}}", 6, "must be a whole number from 1 to 1000, not 0"),
        ("{sample: {pairs: longer}}", 6, "or `right` or null, not 'longer'"),
        ("{train: one, form: base}", 6, "did you mean 'from'?"),
        ("{sample: {samples: 4}}", 5, "no step of `rounds` trains a stage"),
        ("{train: one}\n  - {train: one}", 5, "the second that is called 'one'"),
        ("sample: {pairs: right}\n  - {train: one, data: sample}", 5, "leave out `pairs` of that step"),
        ("sample: {samples: 4}\n  - {train: two, data: sample}", 5, "give that step `pairs`, such as `right`"),
        ("sample: {samples: 4}\n  - sample: {name: more, pairs: right}\n  - {train: two, data: sample}", 5,
         "step 3 of `rounds` gives right solutions of 'sample' to two, of kind dpo"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_with_its_line(step: str, line: int, said: str, tmp_path: Path) -> None:
    file = written(tmp_path, f"rounds:\n  - {step}\n")
    done = virc("systems", "show", file)
    assert done.code == 3
    assert done.err.startswith(f"error: {file}:{line}: "), done.err
    assert said in done.err
    assert done.err.count("error:") == 1
    with pytest.raises(ConfigError):
        systems.load(file)


@pytest.mark.parametrize("name", ["base", "last"])
def test_no_stage_of_a_round_has_a_name_that_means_something_else(name: str) -> None:
    with pytest.raises(ValueError, match=f"step 2 of `rounds` trains '{name}', a name that `from` has another meaning"):
        check_rounds((Step(train="one"), Step(train=name)), {"one": "sft", name: "sft"})
