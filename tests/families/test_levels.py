"""What `virc systems families` says of model types is what the docs and the code say."""

import re
from pathlib import Path

import pytest
from support.called import virc

from virc.core.errors import ConfigError
from virc.families import registry as families
from virc.families.parts import PARTS, part_of

PAGE = Path(__file__).parents[2] / "docs" / "servers" / "README.md"


def test_the_docs_have_the_types_that_the_command_prints() -> None:
    found = virc("systems", "families", "--json").json["families"]
    lines = re.findall(r"^\| `(.+?)` \|.*\|(.*)\|(.*)\|$", PAGE.read_text(), re.MULTILINE)
    for each in found:
        here, sft, rl = (
            {kind for kind in each["types"] if each["types"][kind][level]} for level in ("here", "sft", "rl")
        )
        told, told_rl = next(cells for name, *cells in lines if name == each["name"])
        assert here == sft == set(re.findall(r"`([a-z]\w+)`", told))
        assert rl == (sft if "the same" in told_rl else set(re.findall(r"`([a-z]\w+)`", told_rl)))


def test_a_type_that_an_engine_does_not_train_is_refused_with_what_can_be_done() -> None:
    for check, kind, hint in (
        (families.template, "gemma4", "qwen2_5_vl"),
        (families.template, "gemma3n", "vLLM 0.32 serves"),
        (families.check_rl, "llava", "qwen2_5_vl"),
        (families.template, "internvl_chat", "OpenGVLab/InternVL3_5-8B-HF"),
        (families.check_rl, "qwen4_exp", "vLLM 0.32 serves"),
        (families.template, "minicpmv4_7", "vLLM 0.32 serves"),
    ):
        with pytest.raises(ConfigError, match=f"models of type '{kind}' are not trained here") as refused:
            check(kind)
        assert hint in (refused.value.hint or "")


@pytest.mark.parametrize("kind", sorted({kind for each in families.discover().values() for kind in each.sft}))
def test_each_part_of_a_trained_type_has_its_names(kind: str) -> None:
    is_apart = kind in ("internvl", "gemma3")
    tower, merger = ("vision_tower", "multi_modal_projector") if is_apart else ("visual", "visual.merger")
    names = {
        "vision": f"model.{tower}.encoder.0.qkv" if is_apart else f"model.{tower}.blocks.0.attn.qkv",
        "projector": f"model.{merger}.linear_1.weight",
        "language": "model.language_model.layers.0.self_attn.q_proj.weight",
    }
    assert {part: part_of(names[part], kind) for part in PARTS} == {part: part for part in PARTS}
