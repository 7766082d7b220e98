"""A stage of kind `dpo`: the keys that LLaMA-Factory gets, those that a user may set, and its lines of metrics."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from virc.engines.llamafactory import plan as planner
from virc.stages.context import Place
from virc.stages.dpo import Config
from virc.stages.sft import Lora

PLACE = Place(
    base=Path("/models/base"),
    model_type="qwen2_5_vl",
    data=Path("/data/pairs.jsonl"),
    media=Path("/data"),
    output=Path("/runs/a/checkpoints"),
    files=Path("/runs/a/logs/attempt_2"),
    python=Path("/env/bin/python"),
    recipes=Path("/recipes"),
    dataset="pairs",
)
RESUMED = msgspec.structs.replace(PLACE, resume=Path("/runs/a/checkpoints/checkpoint-4"))
ON_ADAPTER = msgspec.structs.replace(PLACE, adapter=Path("/runs/b/checkpoints/checkpoint-9"))

MPO = {"beta": 0.2, "engine": {"pref_ftx": 1.0, "pref_bco_weight": 0.25}}


def config(**values: Any) -> Config:
    return Config(**{"base": "x", "data": "a/pairs", "learning_rate": 1e-5, "devices": 1, "zero": 0, **values})


def keys(place: Place = PLACE, **values: Any) -> dict[str, Any]:
    return planner.settings(config(**values), place)


@pytest.mark.parametrize(
    ("given", "stage", "expected"),
    [
        (MPO, "dpo", {"pref_loss": "sigmoid", "pref_ftx": 1.0, "pref_bco_weight": 0.25, "pref_beta": 0.2,
                      "dpo_label_smoothing": 0.0}),
        ({"loss": "kto", "chosen_weight": 2.0}, "kto",
         {"pref_beta": 0.1, "kto_chosen_weight": 2.0, "kto_rejected_weight": 1.0}),
        ({"loss": "orpo"}, "dpo", {"pref_loss": "orpo", "pref_beta": 0.1}),
        ({"loss": "simpo", "simpo_gamma": 1.2}, "dpo", {"pref_loss": "simpo", "pref_beta": 0.1, "simpo_gamma": 1.2}),
    ],
)  # fmt: skip
def test_a_loss_gets_its_own_keys_alone(given: dict[str, Any], stage: str, expected: dict[str, Any]) -> None:
    found = keys(**given)
    assert found["stage"] == stage
    of_losses = ("pref_", "kto_", "simpo_", "dpo_")
    assert {name: value for name, value in found.items() if name.startswith(of_losses)} == expected


@pytest.mark.parametrize("loss", ["sigmoid", "kto"])
def test_a_resumed_run_compares_with_what_it_began_with(loss: str) -> None:
    found = keys(RESUMED, loss=loss)
    assert found["model_name_or_path"] == str(RESUMED.resume)
    assert found["ref_model"] == "/models/base"


def test_an_adapter_that_goes_on_is_compared_with_itself() -> None:
    found = keys(ON_ADAPTER, lora=Lora())
    assert (found["ref_model"], found["ref_model_adapters"]) == ("/models/base", str(ON_ADAPTER.adapter))
