"""Settings of SFT and preferences that no golden file has: which of LLaMA-Factory's keys and files each becomes."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from virc.core.errors import ConfigError
from virc.core.plan import Plan
from virc.engines.llamafactory import plan as llamafactory
from virc.stages import dpo
from virc.stages.context import Place
from virc.stages.sft import Config, Lora

FILES = Path("/runs/a/logs/attempt_2")
PLACE = Place(
    base=Path("/models/base"),
    model_type="qwen2_5_vl",
    data=Path("/runs/a/rows.jsonl"),
    media=Path("/pictures"),
    output=Path("/runs/a/checkpoints"),
    files=FILES,
    python=Path("/env/bin/python"),
    recipes=Path("/recipes"),
    dataset="rows",
    entry={"file_name": "published.json", "columns": {"messages": "conversations"}},
)
CHECKPOINT, ADAPTER = Path("/runs/a/checkpoints/checkpoint-4"), Path("/runs/b/checkpoints/checkpoint-9")
ALONE: dict[str, Any] = {"devices": 1, "zero": 0}


def config(**given: Any) -> Config:
    return Config(**{"data": "d/rows", "learning_rate": 1e-5, **given})


def keys(given: dict[str, Any], **place: Any) -> dict[str, Any]:
    """What LLaMA-Factory gets of a stage."""
    return llamafactory.settings(config(**given), msgspec.structs.replace(PLACE, **place))


def planned(given: dict[str, Any], **place: Any) -> Plan:
    return llamafactory.plan(config(**given), msgspec.structs.replace(PLACE, **place), {}, {})


@pytest.mark.parametrize(
    ("given", "wanted"),
    [({"train_batch_size": 96, "micro_batch_size_per_device": 2, "devices": 4, "nodes": 3},
         {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}),
        ({"steps": 7, "epochs": 3}, {"max_steps": 7, "num_train_epochs": None}),
        ({"schedule": "constant", "warmup_ratio": 0.1},
         {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 0.1}),
        ({"lora": Lora(8, 24, 0.1, ("q_proj", "v_proj"))},
         {"lora_rank": 8, "lora_alpha": 24, "lora_dropout": 0.1, "lora_target": "q_proj,v_proj"}),
        ({"engine": {"of_another_version": 3, "weight_decay": 0.1}}, {"of_another_version": 3, "weight_decay": 0.1})],
)  # fmt: skip
def test_a_setting_becomes_the_engines_key(given: dict[str, Any], wanted: dict[str, Any]) -> None:
    found = keys(given)
    assert {name: found.get(name) for name in wanted} == wanted


LOADABLE = str(FILES / "resume")


@pytest.mark.parametrize(
    ("given", "place", "wanted"),
    [({}, {"resume": CHECKPOINT}, (str(CHECKPOINT), None, str(CHECKPOINT))),
        (ALONE, {"resume": CHECKPOINT}, (str(CHECKPOINT), None, LOADABLE)),
        ({"lora": Lora(), **ALONE}, {"resume": CHECKPOINT}, ("/models/base", None, str(CHECKPOINT))),
        ({"lora": Lora()}, {"adapter": ADAPTER, "resume": CHECKPOINT},
         ("/models/base", str(ADAPTER), str(CHECKPOINT)))],
)  # fmt: skip
def test_a_run_starts_from_its_base_or_goes_on_from_its_checkpoint(
    given: dict[str, Any], place: dict[str, Any], wanted: tuple[str | None, ...]
) -> None:
    found = keys(given, **place)
    names = ("model_name_or_path", "adapter_name_or_path", "resume_from_checkpoint")
    assert tuple(found.get(name) for name in names) == wanted
    made = planned(given, **place).loadable
    assert made == ((CHECKPOINT, Path(LOADABLE)) if wanted[2] == LOADABLE else None)


def test_deepspeed_offloads_weights_where_it_shards_them() -> None:
    for stage, offloaded in ((2, {"offload_optimizer"}), (3, {"offload_optimizer", "offload_param"})):
        zero = json.loads(planned({"zero": stage, "offload": True}).files[f"{FILES}/deepspeed.json"])
        found = zero["zero_optimization"]
        assert (found["stage"], {name for name in found if name.startswith("offload")}) == (stage, offloaded)


@pytest.mark.parametrize(
    ("model_type", "template"), [("qwen2_vl", "qwen2_vl"), ("qwen2_5_vl", "qwen2_vl"), ("qwen3_vl", "qwen3_vl_nothink")]
)
def test_a_base_is_trained_in_its_own_template(model_type: str, template: str) -> None:
    assert keys({}, model_type=model_type)["template"] == template
    with pytest.raises(ConfigError, match="models of type 'llava' are not trained here"):
        keys({}, model_type="llava")


def preference_keys(given: dict[str, Any], **place: Any) -> dict[str, Any]:
    config = dpo.Config(**{"data": "a/pairs", "learning_rate": 1e-5, **ALONE, **given})
    return llamafactory.settings(config, msgspec.structs.replace(PLACE, **place))


@pytest.mark.parametrize(
    ("given", "stage", "expected"),
    [
        ({"beta": 0.2, "engine": {"pref_ftx": 1.0, "pref_bco_weight": 0.25}}, "dpo",
         {"pref_loss": "sigmoid", "pref_ftx": 1.0, "pref_bco_weight": 0.25, "pref_beta": 0.2,
          "dpo_label_smoothing": 0.0}),
        ({"loss": "kto", "chosen_weight": 2.0}, "kto",
         {"pref_beta": 0.1, "kto_chosen_weight": 2.0, "kto_rejected_weight": 1.0}),
        ({"loss": "orpo"}, "dpo", {"pref_loss": "orpo", "pref_beta": 0.1}),
        ({"loss": "simpo", "simpo_gamma": 1.2}, "dpo", {"pref_loss": "simpo", "pref_beta": 0.1, "simpo_gamma": 1.2}),
    ],
)  # fmt: skip
def test_a_loss_gets_its_own_keys_alone(given: dict[str, Any], stage: str, expected: dict[str, Any]) -> None:
    found = preference_keys(given)
    assert found["stage"] == stage
    of_losses = ("pref_", "kto_", "simpo_", "dpo_")
    assert {name: value for name, value in found.items() if name.startswith(of_losses)} == expected


@pytest.mark.parametrize(
    ("given", "place", "wanted"),
    [
        ({"loss": "sigmoid"}, {"resume": CHECKPOINT}, (str(CHECKPOINT), "/models/base", None)),
        ({"loss": "kto"}, {"resume": CHECKPOINT}, (str(CHECKPOINT), "/models/base", None)),
        ({"lora": Lora()}, {"adapter": ADAPTER}, ("/models/base", "/models/base", str(ADAPTER))),
    ],
)
def test_preferences_are_compared_with_what_the_run_began_with(
    given: dict[str, Any], place: dict[str, Any], wanted: tuple[str | None, ...]
) -> None:
    found = preference_keys(given, **place)
    assert tuple(found.get(name) for name in ("model_name_or_path", "ref_model", "ref_model_adapters")) == wanted
