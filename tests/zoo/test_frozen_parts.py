"""Which weights a stage trains, counted by module of a Qwen2.5-VL-7B without values, against the published trainer.

Each trainer's switch is repeated here as its own code applies it, so that a name which means something else there is
seen: EasyR1's `freeze_vision_tower` takes the merger, too, LLaMA-Factory's key of that name does not.
"""

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from virc.engines.llamafactory import plan as llamafactory
from virc.engines.verl.model import freeze
from virc.stages.context import Place
from virc.stages.resolve import resolve
from virc.systems import registry as systems

PARTS = ("merger", "visual", "language_model", "lm_head")
MERGER = 44_574_464
PLACE = Place(
    base=Path("base"), model_type="qwen2_5_vl", data=Path("rows.jsonl"), media=Path("pictures"), output=Path("out"),
    files=Path("files"), python=Path("python"), recipes=Path("recipes"), dataset="rows", entry={},
)  # fmt: skip
Switch = Callable[[Any], None]


@cache
def empty_model() -> Any:
    """A Qwen2.5-VL of the shapes of 7B, on the device that has no values."""
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 2, "num_attention_heads": 28,
            "num_key_value_heads": 4, "vocab_size": 152064}  # fmt: skip
    vision = {"hidden_size": 1280, "out_hidden_size": 3584, "depth": 2, "num_heads": 16, "intermediate_size": 3420,
              "fullatt_block_indexes": [1]}  # fmt: skip
    with torch.device("meta"):
        return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision))


def trained(switch: Switch) -> dict[str, int]:
    """The parameters that learn, by module, after a switch was used on a model that is trained whole."""
    model, count = empty_model(), Counter[str]()
    model.requires_grad_(True)
    switch(model)
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            count[next(part for part in PARTS if part in name)] += weight.numel()
    return dict(count)


def whole(model: Any) -> None:
    """No switch."""


def easy_r1(model: Any) -> None:
    """`freeze_vision_tower` of EasyR1 and of Vision-G1's verl, verl/workers/fsdp_workers.py: `model.visual`, whole."""
    model.model.visual.requires_grad_(False)


def by_name(model: Any) -> None:
    """`freeze_vision_modules` of VLM-R3, trainer/vllm_rgrpo_trainer.py: each weight with `visual` in its name."""
    for name, weight in model.named_parameters():
        if "visual" in name:
            weight.requires_grad_(False)


def llama_factory(*, vision: bool = True, projector: bool = True) -> Switch:
    """LLaMA-Factory, model/model_utils/visual.py: a weight with the name of a module in its own is not trained."""

    def switch(model: Any) -> None:
        names = ["visual.patch_embed", "visual.blocks"] * vision + ["visual.merger"] * projector
        for name, weight in model.named_parameters():
            if any(each in name for each in names):
                weight.requires_grad_(False)

    return switch


def swift(*, vit: bool = True, aligner: bool = True) -> Switch:
    """ms-swift, llm/argument/tuner_args.py: `visual` is frozen whole, then the aligner is trained if it is not."""

    def switch(model: Any) -> None:
        for name, weight in model.named_parameters():
            place = name.removeprefix("model.")
            if (vit and place.startswith("visual")) or (aligner and place.startswith("visual.merger")):
                weight.requires_grad_(False)
            if not aligner and place.startswith("visual.merger"):
                weight.requires_grad_(True)

    return switch


TABLE: dict[tuple[str, str], Switch] = {
    ("openvlthinker", "instruct"): llama_factory(),
    ("openvlthinker", "medium"): easy_r1,
    ("openvlthinker", "hard"): whole,
    ("code-as-thought", "rl"): easy_r1,
    ("vision-g1", "round-1"): easy_r1,
    ("vision-g1", "round-2"): easy_r1,
    ("vigorl", "instruct"): llama_factory(),  # freeze_multi_modal_projector is true where no file sets it
    ("vigorl", "search"): easy_r1,
    ("perception-r1", "rl"): whole,  # examples/default_config.yaml: freeze_vision_tower false
    ("thyme", "instruct"): swift(),
    ("thyme", "compute"): swift(),
    ("thyme", "rl"): swift(aligner=False),
    ("v-thinker", "perception"): swift(),
    ("v-thinker", "instruct"): swift(),
    ("v-thinker", "rl"): swift(aligner=False),
    ("curr-reft", "reject"): swift(vit=False),
    ("vppo", "rl"): whole,  # examples/configs/config.yaml: freeze_vision_tower false
    ("vlm-r3", "instruct"): llama_factory(),
    ("vlm-r3", "rl"): by_name,
    ("adareasoner", "instruct"): llama_factory(),
    ("deepeyes-v2", "cold-start"): llama_factory(),
    ("mini-o3", "cold-start"): llama_factory(),
    ("vrag-rl", "instruct"): llama_factory(),
    ("pixel-reasoner", "instruct"): by_name,  # sft_tooltrainer.py, with --freeze_vision_modules
    ("video-com", "instruct"): easy_r1,  # train/src/train/train_sft.py, configure_vision_tower
    ("visreason", "instruct"): llama_factory(projector=False),  # arXiv:2511.17731, 5: its rate is that of the LLM
    ("vilasr", "cold-start"): llama_factory(),
    ("vilasr", "reflect"): llama_factory(),
}


def ours(system: str, stage: str) -> Switch:
    """What this package's engine does with the settings of a stage."""
    config = resolve(systems.get(system), stage).config
    if systems.get(system).stages[stage].kind == "rl":
        return lambda model: print(freeze(model, config.frozen), "weights are frozen")
    keys = llamafactory.settings(config, PLACE)
    left_out = bool(config.lora) and config.engine.get("additional_target") != "merger"  # by an adapter on `all`
    projector = keys["freeze_multi_modal_projector"] or left_out
    return llama_factory(vision=keys["freeze_vision_tower"], projector=projector)


@pytest.mark.integration
@pytest.mark.parametrize(("system", "stage"), TABLE, ids=map("-".join, TABLE))
def test_a_stage_trains_the_weights_that_its_published_trainer_trains(system: str, stage: str) -> None:
    assert trained(ours(system, stage)) == trained(TABLE[system, stage])


@pytest.mark.integration
def test_the_same_key_of_two_trainers_differs_by_the_merger() -> None:
    assert trained(llama_factory(projector=False)) == trained(easy_r1) | {"merger": MERGER}


def test_every_stage_with_frozen_parts_is_compared() -> None:
    frozen = {
        (name, stage)
        for name, system in systems.discover().items()
        for stage, each in system.stages.items()
        if any("freeze" in key for key in each.published or ()) and name not in ("virc", "virgo", "chain-of-focus")
    }
    assert frozen <= {*TABLE}
