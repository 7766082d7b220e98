"""What a stage starts from: the run of the stage before, an adapter, and rows that are not those it learns from."""

import json
from pathlib import Path
from typing import Any

import pytest
from support import small_lora
from support.made import make

from virc.core.errors import ConfigError, DataError
from virc.runs import run as runs
from virc.stages.resolve import Resolved
from virc.training import inputs
from virc.training.request import TrainRequest


def stage(name: str, *sets: str, **fields: Any) -> Resolved:
    return TrainRequest(system="tiny", stage=name, assignments=sets, **fields).resolve()


def test_a_stage_starts_from_the_newest_run_before_it_of_its_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "_base_of", lambda name, *_: name)
    runs_before = (("first", "tiny-base"), ("newest", "tiny-base"), ("others", "qwen"), ("running", "tiny-base"))
    for day, (name, root) in enumerate(runs_before, 1):
        run = make(tmp_path, name, created=f"2026-01-0{day}T00:00:00+00:00", root=root)
        runs.write_state(run, progress="stopped" if name == "running" else "finished")
    assert inputs.base(stage("practice"), tmp_path) == "newest"


@pytest.mark.parametrize(
    ("asked", "said", "hint"),
    [
        (stage("practice", overlays=("lora",)),
         "no run of the stage instruct that began with tiny-base has finished in WORK/runs",
         "virc train tiny --stage instruct --with lora, or name what to start from: --from"),
        (stage("practice", "after=null"), "tiny-practice names neither `base` nor `after`", "--from MODEL"),
        (stage("practice", base="adapter"), "adapter is a LoRA adapter, and tiny-practice trains whole weights",
         "virc merge adapter, then --from the folder that it prints; or go on with the adapter: --with lora"),
    ],
    ids=["no run", "no base", "an adapter"],
)  # fmt: skip
def test_a_base_that_cannot_be_is_one_sentence(
    asked: Resolved, said: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small_lora.describe(tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_model.safetensors").touch()
    with pytest.raises(ConfigError) as refused:
        inputs.base(asked, tmp_path)
    assert (refused.value.message, refused.value.hint) == (said.replace("WORK", str(tmp_path)), hint)


DRAWN = "virc data synth --to data/polygons --count 2000 --seed 1 --formats"
SAMPLE = "virc data sample data/polygons/problems.jsonl --pairs right --to data/polygons/pairs.jsonl"


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        (stage("dpo", base="tiny"), f"{DRAWN} batch, then {SAMPLE}"),
        (stage("rl", "data=mine/rows", base="tiny"),
         "rows of your own: --data FILE; to validate with: --set validation=FILE"),
    ],
)  # fmt: skip
def test_rows_that_are_not_here_are_named_with_what_makes_them(asked: Resolved, hint: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file ") as refused:
        inputs.rows(asked, tmp_path)
    assert refused.value.hint == hint


def test_rows_are_those_of_the_chosen_variant_and_a_path_from_here_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = json.dumps({"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "a"}]})
    for place in ("data/of-big.jsonl", "data/of-small.jsonl", "mine.jsonl", "folder/only.jsonl"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(line)
    for words, found in (
        (("data=of-{size}", "variant.size=big"), "data/of-big.jsonl"),
        (("data=mine.jsonl",), "mine.jsonl"), (("data=folder",), "folder/only.jsonl"),
    ):  # fmt: skip
        assert inputs.rows(stage("instruct", *words), tmp_path).file.absolute() == tmp_path / found
