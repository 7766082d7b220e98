"""What the makers of each family published of its boxes and images, as numbers of their own files."""

from typing import NamedTuple

import pytest

from virc.families import registry as families

THOUSAND, PIXEL = "thousand", "pixel"


class Facts(NamedTuple):
    """Unit and order of boxes; patch and merged patches a side, least and most tokens of an image; longest reply."""

    unit: str | None
    box: str
    patch: int
    merge: int
    least: int
    most: float
    reply: int


FACTS = {
    # patch_size, merge_size, min_pixels and max_pixels of preprocessor_config.json
    "qwen2-vl": Facts(THOUSAND, "corners", 14, 2, 4, 16_384, 2048),
    "qwen2.5-vl": Facts(PIXEL, "corners", 14, 2, 4, 16_384, 2048),
    # 65536 and 16777216 pixels
    "qwen3-vl": Facts(THOUSAND, "corners", 16, 2, 64, 16_384, 8192),
    "qwen3.5": Facts(THOUSAND, "corners", 16, 2, 64, 16_384, 8192),
    # 12544 and 9633792 pixels, of which its processor counts those of a picture twice
    "glm-4v": Facts(THOUSAND, "corners", 14, 2, 8, 6144, 8192),
    "glm-ocr": Facts(None, "corners", 14, 2, 8, 6144, 8192),
    # tiles of 448 pixels with 256 tokens each, 1 to 12 of them
    "internvl3": Facts(THOUSAND, "corners", 14, 2, 256, 12 * 256, 2048),
    "gemma3": Facts(None, "corners", 14, 2, 4, 1024, 2048),
    # 70 to 1120 tokens of 48 pixels a side
    "gemma4": Facts(THOUSAND, "corners_yx", 16, 3, 70, 1120, 4096),
    # 1 to 9 slices of 448 x 448 to 448 x 504 pixels, merged twice
    "minicpm-v": Facts(THOUSAND, "corners", 14, 4, 64, 9 * 72, 8192),
    # at most 16384 patches
    "kimi-k2.5": Facts(None, "corners", 14, 2, 1, 4096, 8192),
    # at most 4096 patches
    "kimi-vl": Facts(None, "corners", 14, 2, 1, 1024, 8192),
    # 3136 and 1600 x 1600 pixels
    "llava-onevision": Facts(None, "corners", 14, 2, 4, 1600**2 / 28**2, 2048),
    # crops of 378 pixels, each but the first with 266 new ones, 1 to 8 of them
    "molmo2": Facts(None, "corners", 14, 2, 378**2 // 28**2, 378 * (8 * 266 + 112) // 28**2, 2048),
    # sides of at most 3024 pixels
    "step3": Facts(None, "corners", 14, 4, 1, (3024 // 56) ** 2, 8192),
    "glm-5": Facts(None, "corners", 14, 2, 16, 8000, 8192),
    # 64 tokens to 10 tiles of 512 pixels
    "lfm2-vl": Facts(None, "corners", 16, 2, 64, 10 * 256, 2048),
    "minimax-m3": Facts(None, "corners", 14, 2, 4, 576, 8192),
    # 1024 to 13312 patches
    "nemotron-omni": Facts(None, "corners", 16, 2, 256, 3328, 8192),
    # tiles of 448 pixels, 1 to 12 of them
    "ovis2": Facts(None, "corners", 14, 2, 256, 12 * 256, 2048),
}


@pytest.mark.parametrize("name", FACTS)
def test_a_family_is_spoken_to_by_the_facts_of_its_makers(name: str) -> None:
    family, facts = families.get(name), FACTS[name]
    side = facts.patch * facts.merge
    assert (family.name, family.coordinates, family.box) == (name, facts.unit, facts.box)
    assert (family.grid.factor, family.max_tokens) == (side, facts.reply)
    assert family.grid.min_pixels == facts.least * side**2
    assert family.grid.max_pixels == facts.most * side**2
    spoken = families.protocol(family)
    assert (spoken.coordinates, spoken.box) == (facts.unit or PIXEL, facts.box)
    assert (spoken.reading, spoken.crops, spoken.sampling.max_tokens) == ("lenient", "file", facts.reply)


def test_no_family_is_without_facts() -> None:
    assert families.discover().keys() == FACTS.keys()


@pytest.mark.parametrize("name", ["qwen3-vl", None])
@pytest.mark.parametrize(("unit", "box"), [(PIXEL, "corners"), (THOUSAND, "corners_yx"), ("unit", "corners_yx")])
def test_what_was_found_out_counts_more_than_the_family(name: str | None, unit: str, box: str) -> None:
    family = families.get(name) if name else families.UNKNOWN
    spoken = families.protocol(family, unit, box)  # type: ignore[arg-type]
    assert (spoken.coordinates, spoken.box) == (unit, box)


@pytest.mark.parametrize("name", ["qwen3-vl", "gemma4", None])
def test_tools_are_told_once_in_the_message_or_in_the_request(name: str | None) -> None:
    family = families.get(name) if name else families.UNKNOWN
    told, native = (families.protocol(family, native=each) for each in (False, True))
    assert "<tools>" in told.system
    assert told.schemas == ()
    assert "<tools>" not in native.system
    assert "<tool_call>" not in native.system
    named = [each["function"]["name"] for each in native.schemas]
    assert named
    assert all(each in told.system for each in named)
