"""Settings of supervised fine-tuning: which of LLaMA-Factory's keys, files and variables each becomes, by hand."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from support.helping_hints import helps

from virc.core.errors import ConfigError
from virc.core.plan import Plan
from virc.engines import registry as engines
from virc.engines.llamafactory import plan as llamafactory
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
    [({}, {"finetuning_type": "full", "lora_rank": None, "do_train": True, "stage": "sft", "report_to": "none",
              "save_only_model": False, "trust_remote_code": False, "template": "qwen2_vl", "media_dir": "/pictures",
              "dataset": "rows", "dataset_dir": str(FILES), "deepspeed": f"{FILES}/deepspeed.json"}),
        ({"train_batch_size": 96, "micro_batch_size_per_device": 2, "devices": 4, "nodes": 3},
         {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}),
        ({"steps": 7, "epochs": 3}, {"max_steps": 7, "num_train_epochs": None}),
        ({"schedule": "constant", "warmup_ratio": 0.1},
         {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 0.1}),
        ({"frozen_modules": ("vision",)}, {"freeze_vision_tower": True, "freeze_multi_modal_projector": False,
                                           "freeze_language_model": False}),
        ({"lora": Lora(8, 24, 0.1, ("q_proj", "v_proj"))},
         {"finetuning_type": "lora", "lora_rank": 8, "lora_alpha": 24, "lora_dropout": 0.1,
          "lora_target": "q_proj,v_proj"}),
        ({"precision": "float32"}, {"bf16": False}),
        ({"engine": {"of_another_version": 3, "weight_decay": 0.1}}, {"of_another_version": 3, "weight_decay": 0.1}),
        ({"save_steps": 50, "save_total_limit": 2},
         {"save_strategy": "steps", "save_steps": 50, "save_total_limit": 2}),
        ({"save_steps": "epoch"}, {"save_strategy": "epoch", "save_steps": None}),
        ({"log_every": 3, "loaders": 2}, {"logging_steps": 3, "dataloader_num_workers": 2,
                                          "preprocessing_num_workers": 4}),
        ({"device": "cpu", **ALONE}, {"use_cpu": True})],
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


def test_the_engine_reads_the_rows_of_the_run_in_the_columns_of_their_file() -> None:
    info = json.loads(planned({}).files[f"{FILES}/dataset_info.json"])
    assert info == {"rows": {"file_name": "/runs/a/rows.jsonl", "columns": {"messages": "conversations"}}}
    assert yaml.safe_load(planned({}).files[f"{FILES}/engine.yaml"]) == keys({})


@pytest.mark.parametrize(
    ("given", "stage", "offloaded"),
    [({"zero": 2}, 2, set()), ({"zero": 3, "offload": True}, 3, {"offload_optimizer", "offload_param"})],
)
def test_deepspeed_shards_and_offloads_as_the_stage_says(
    given: dict[str, Any], stage: int, offloaded: set[str]
) -> None:
    zero = json.loads(planned(given).files[f"{FILES}/deepspeed.json"])["zero_optimization"]
    assert (zero["stage"], {name for name in zero if name.startswith("offload")}) == (stage, offloaded)


@pytest.mark.parametrize(
    ("given", "spread"),
    [
        (ALONE, None),
        ({"devices": 4}, ["--nnodes", "1", "--nproc-per-node", "4", "--standalone"]),
        ({"devices": 8, "nodes": 2}, ["--nnodes", "2", "--nproc-per-node", "8"]),
    ],
)
def test_each_device_of_each_node_has_a_process(given: dict[str, Any], spread: list[str] | None) -> None:
    step = planned(given).step
    launcher = ["-m", "torch.distributed.run", *spread] if spread else []
    assert step.argv == ("/env/bin/python", *launcher, "-m", llamafactory.START, f"{FILES}/engine.yaml")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"gpus": (2, 3), "devices": 2}, {"CUDA_VISIBLE_DEVICES": "2,3"}),
        ({}, {"RECORD_VRAM": "1", "CUDA_VISIBLE_DEVICES": None, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
              "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "PYTHONPATH": "/recipes",
              "PYTHONDONTWRITEBYTECODE": ""}),  # or each start would compile a thousand files
        ({"device": "cpu", **ALONE}, {"RECORD_VRAM": "", "CUDA_VISIBLE_DEVICES": "-1", "DS_ACCELERATOR": "",
                                      "OMP_NUM_THREADS": "1"}),
        ({"device": "cpu", "devices": 2}, {"CUDA_VISIBLE_DEVICES": "-1", "DS_ACCELERATOR": "cpu"}),
    ],
)  # fmt: skip
def test_the_process_finds_its_devices_and_no_network(given: dict[str, Any], wanted: dict[str, str | None]) -> None:
    found = planned(given).step.env
    assert {name: found.get(name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("model_type", "template"), [("qwen2_vl", "qwen2_vl"), ("qwen2_5_vl", "qwen2_vl"), ("qwen3_vl", "qwen3_vl_nothink")]
)
def test_a_base_is_trained_in_its_own_template(model_type: str, template: str) -> None:
    assert keys({}, model_type=model_type)["template"] == template
    with pytest.raises(ConfigError, match="models of type 'llava' are not trained here"):
        keys({}, model_type="llava")


@pytest.mark.parametrize(
    ("given", "setting", "said"),
    [({"train_batch_size": 24, "nodes": 2}, "train_batch_size", "24 is no multiple of the 16 rows"),
        ({"device": "cpu", "zero": 0, "devices": 1, "nodes": 2}, "zero", "several processes on CPUs"),
        ({"gpus": (0, 0), **ALONE}, "gpus", "gpus names 1 different GPUs, and devices is 1; each is named once"),
        ({"devices": 1}, "zero", "zero 3 spreads over devices, and there is only one"),
        ({"device": "cpu", "zero": 0}, "zero", "several processes on CPUs cannot be resumed without DeepSpeed"),
        ({"min_pixels": 100, "max_pixels": 99}, "min_pixels", "min_pixels 100 is over max_pixels 99"),
        ({"frozen_modules": ("language", "vision", "projector")}, "frozen_modules", "every part of the model is"),
        ({"data": "d/{scale}"}, "data", "scale")],
)  # fmt: skip
def test_settings_that_make_no_sense_together_are_named(given: dict[str, Any], setting: str, said: str) -> None:
    found = {fault.path[0]: fault for fault in engines.faults("sft", config(**given)) if said in fault.message}
    assert list(found) == [setting]
    assert helps("sft", config(**given), found[setting])
