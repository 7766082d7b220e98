"""What we say of LLaMA-Factory's keys is what the installed engine does."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.called import virc
from support.engine_python import interpreter
from training import stage_plans

from virc.engines.llamafactory.keys import KEYS, LORA, PREFERENCE_KEYS

KEYS_OF_ENGINE = """
import dataclasses, json
from enum import Enum
from llamafactory.hparams import parser

def group(part, name):
    return next(kind.__name__ for kind in part.__mro__ if name in vars(kind).get("__annotations__", {}))

def default(field):
    value = field.default_factory() if callable(field.default_factory) else field.default
    return value.value if isinstance(value, Enum) else value

fields = {
    field.name: (group(part, field.name), default(field))
    for part in parser._TRAIN_ARGS for field in dataclasses.fields(part) if field.init
}
print(json.dumps(fields, default=str))
"""


@pytest.mark.engine
def test_every_key_that_is_named_here_is_one_of_the_engine() -> None:
    """Those that a stage gets, those that a user may not set, and defaults that published values are compared with."""
    command = [str(interpreter("sft")), "-c", KEYS_OF_ENGINE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    engine: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    planned = [stage_plans.plan(resolved) for resolved in stage_plans.cases() if resolved.kind != "rl"]
    given = {name for plan in planned for name in stage_plans.engine_keys(plan)}
    tables = (KEYS, PREFERENCE_KEYS)
    named = {name for table in tables for name in table.refused}
    ours = {name for table in tables for name, key in table.keys.items() if key.settings or key.fixed or key.instead}
    assert not (given | named | ours | LORA) - engine.keys()
    defaults = {name: key.default for name, key in KEYS.keys.items() if key.default is not None}
    assert {name: engine[name][1] for name in defaults} == defaults
    of_lora = {name for name, (group, _) in engine.items() if group == "LoraArguments"}
    assert of_lora - KEYS.keys.keys() - KEYS.refused.keys() == LORA


@pytest.mark.engine
def test_an_unknown_key_is_named_by_the_engine_before_it_loads_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert virc("data", "synth", "--to", "data/polygons", "--count", 16, "--seed", 1, "--formats", "sft").code == 0
    done = virc("train", "tiny", "--stage", "instruct", "--name", "run", "--set", "engine.weight_deca=0.1")
    assert done.code == 7
    assert "error: LLaMA-Factory failed: it has no key ['weight_deca']\nhint: leave it out" in done.err
    assert "loading checkpoint" not in Path("runs/run/logs/attempt_1/engine.log").read_text().lower()


@pytest.mark.engine
def test_rows_split_off_for_evaluation_are_evaluated_and_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    assert virc("data", "synth", "--to", "data/polygons", "--count", 16, "--seed", 1, "--formats", "sft").code == 0
    given = ("steps=2", "train_batch_size=4", "engine.val_size=4", "engine.eval_strategy=steps", "engine.eval_steps=1")
    sets = [word for each in given for word in ("--set", each)]
    done = virc("train", "tiny", "--stage", "instruct", "--name", "run", *sets)
    assert done.code == 0, done.err
    lines = [json.loads(line) for line in Path("runs/run/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line.get("eval_loss")] == [1, 2]
