"""What `virc systems families` and the docs say of model types is what tests have shown."""

import importlib
from functools import partial
from pathlib import Path

import pytest
from levels_table import HEAD, types
from support.called import virc

from virc.core.errors import ConfigError
from virc.families import registry as families
from virc.families.parts import PARTS, part_of

HERE = ("backends.test_kv_cache:test_logits_equal_a_fresh_forward_at_every_turn_also_after_a_rejected_try",
        "backends.test_local:test_greedy_ids_equal_those_of_generate_at_every_turn",
        "backends.test_equal_to_transformers:test_prompts_and_logits_are_those_of_processor_and_model",
        "families.test_stock_families:test_a_box_lands_on_what_was_drawn_at_any_ratio_of_sides")  # fmt: skip
SFT = ("families.test_sft_engine:test_one_step_changes_the_parts_that_are_not_frozen",
       "families.test_sft_engine:test_one_step_of_an_adapter_changes_all_layers_of_the_language_model")  # fmt: skip
TESTS = {
    "server": ("families.test_stock_families:test_a_box_is_cut_in_the_unit_of_the_family",),
    "here": HERE,
    "gguf": ("extras.gguf_writer.test_gguf_writer:test_first_tokens_are_as_likely_as_by_transformers",),
    "sft": SFT,
    "rl": ("families.test_rl_engine:test_one_step_changes_the_parts_that_are_not_frozen",),
}
"""Level -> the tests that each type at it has to pass, with a random model of its architecture."""


@pytest.mark.parametrize(("level", "test"), [(level, test) for level, tests in TESTS.items() for test in tests])
def test_each_type_at_a_level_is_tested(level: str, test: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if level == "gguf":
        pytest.importorskip("virc_extras")
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "backends")
    module, name = test.split(":")
    marks = [mark for mark in getattr(importlib.import_module(module), name).pytestmark if mark.name == "parametrize"]
    tried = next(mark.args[1] for mark in marks if mark.args[0] in ("family", "kind", "name"))
    found = families.discover()
    kinds = [kind for each in found.values() for kind in types(each, level)]
    assert sorted(tried) == sorted(found if level == "server" else kinds)


def test_command_and_docs_have_the_levels_that_are_tested() -> None:
    printed = virc("systems", "families", "--json").json["families"]
    assert [each["name"] for each in printed] == [*families.discover()]
    assert {tuple(levels) for each in printed for levels in each["types"].values()} == {tuple(HEAD)} == {tuple(TESTS)}


def test_a_type_that_an_engine_does_not_train_is_refused_with_what_can_be_done() -> None:
    for check, kind, hint in (
        (families.template, "llava", "qwen2_5_vl"),
        (families.template, "gemma4_unified", "vLLM 0.32 serves"),
        (families.template, "gemma3n", "vLLM 0.32 serves"),
        (families.check_rl, "llava", "qwen2_5_vl"),
        (partial(families.check_rl, rollouts="vllm"), "glm46v", "rollout_engine=transformers"),
        (families.template, "internvl_chat", "OpenGVLab/InternVL3_5-8B-HF"),
        (partial(families.check_rl, rollouts="vllm"), "minicpmv4_6", "RL with --set rollout_engine=transformers"),
        (families.template, "minicpmv4_6", "takes transformers up to 5.6"),
        (families.check_rl, "qwen4_exp", "vLLM 0.32 serves"),
        (families.template, "minicpmv4_7", "vLLM 0.32 serves"),
        (families.template, "ovis2", "no template"),
        (partial(families.check_rl, rollouts="vllm"), "ovis2", "rollout_engine=transformers"),
        (families.check_rl, "kimi_vl", "vLLM 0.32 serves"),
        (families.check_rl, "llavaonevision1_5", "transformers 5"),
    ):
        with pytest.raises(ConfigError, match=f"'{kind}' .* by {'RL' if 'rl' in str(check) else 'SFT or'}") as refused:
            check(kind)
        assert hint in (refused.value.hint or "")


TRAINED = sorted({kind for each in families.discover().values() for kind in (*each.sft, *each.rl)})
APART = {
    "internvl": ("vision_tower", "multi_modal_projector"),
    "gemma3": ("vision_tower", "multi_modal_projector"),
    "gemma4": ("vision_tower", "embed_vision"),
    "lfm2_vl": ("vision_tower", "multi_modal_projector"),
    "minicpmv4_6": ("vision_tower.vit_merger", "merger.mlp"),
    "ovis2": ("vision_tower.transformer", "vision_tower.head_linear"),
}
"""Type -> what its weights of vision and projector begin with, where the second are not within the first."""


@pytest.mark.parametrize("kind", TRAINED)
def test_each_part_of_a_trained_type_has_its_names(kind: str) -> None:
    tower, merger = APART.get(kind, ("visual.blocks", "visual.merger"))
    names = {
        "vision": f"model.{tower}.0.attn.qkv",
        "projector": f"model.{merger}.linear_1.weight",
        "language": "model.language_model.layers.0.self_attn.q_proj.weight",
    }
    assert {part: part_of(names[part], kind) for part in PARTS} == {part: part for part in PARTS}
