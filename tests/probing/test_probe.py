"""The probe held against servers whose model looks at the pixels it is sent: is what it finds true of them?"""

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from rows import NOISE, ROWS, SEEDS, Row, probed, right, truth
from vision_server import Eyes, Vision, VisionServer, looks, see

from virc.probing import pictures
from virc.probing.probe import MAX_REQUESTS
from virc.probing.result import Probed
from virc.reasoning.images import Shown

LARGE = Shown(pictures.large()).data_url
PIXELS = Vision("qwen2.5-vl-7b", "llamacpp", noise=NOISE)


def asked(vision: Vision) -> tuple[Probed, VisionServer]:
    """What a probe finds of a server, and the server."""
    with see(vision) as server:
        found = probed(server)
    assert len(server.posts()) == found.requests <= MAX_REQUESTS
    return found, server


SLICE = {
    "an alias, pixels", "fractions, Kimi-VL", "LM Studio, Gemma 4", "llama.cpp, Qwen3-VL", "LM Studio, Qwen2.5-VL, 500",
    "SGLang, Qwen2.5-VL, 8 images", "calls of told tools alone",
}  # fmt: skip
"""Rows that are asked by default: of each unit and order, scaled and not, and of each way to call."""
CASES = [
    pytest.param(server, seed, id=f"{server.name}-{seed}", marks=[] if is_default else [pytest.mark.integration])
    for server in ROWS
    for seed in SEEDS
    for is_default in [seed == SEEDS[0] and server.name in SLICE]
]


@pytest.mark.parametrize(("server", "seed"), CASES)
def test_what_is_found_of_a_server_is_true_of_it(server: Row, seed: int) -> None:
    found, _ = asked(replace(server.vision, seed=seed))
    assert right(found, truth(server.vision, server.blind)), found
    known = {name: getattr(found, name) for name in server.also}
    assert known == server.also
    assert found.ended is None


@pytest.mark.integration
@pytest.mark.parametrize("noise", [0.0, NOISE, 0.03])
@pytest.mark.parametrize("longest", [None, 448, 700, 1333, 2048])
@pytest.mark.parametrize(("unit", "yx"), [("pixel", False), ("pixel", True), ("thousand", True), ("unit", True)])
def test_no_box_is_taken_for_one_of_another_unit(unit: Any, yx: bool, longest: int | None, noise: float) -> None:
    """Even where a box is twice as far off as models are."""
    vision = Vision(eyes=Eyes(longest=longest), unit=unit, yx=yx, noise=noise, calls="json")
    ask = {"messages": [{"content": [{"type": "image_url", "image_url": {"url": LARGE}}]}]}
    for seed in range(8):
        text = looks(ask, vision, Random(seed))["content"]
        counted = pictures.counted(pictures.numbers(text))
        assert counted is not None
        assert (counted.coordinates, counted.box) == (unit, "corners_yx" if yx else "corners")
        if unit == "pixel" and longest:
            assert counted.scale == pytest.approx(longest / 2240, rel=0.03 + noise)


def test_boxes_of_a_square_picture_are_no_boxes_of_ours() -> None:
    """A model that counts pixels of 896 x 896 would be cut off wherever its numbers were taken for another unit."""
    found, _ = asked(replace(PIXELS, eyes=Eyes(fixed=(896, 896)), model="odd"))
    assert found.coordinates is None
    assert found.scaling == "fixed"


# Servers that break, and replies that would break the probe


HOSTILE = (
    "[NaN, NaN, NaN, NaN]",
    "[1e308, 1e308, 1e308, 1e308]",
    '{"name": "crop_image", "arguments": {"bbox_2d": [1e308, -1e308, 1e308, 1e308], "image_index": 0}}',
    '{"name": "crop_image", "arguments": {"bbox_2d": ["a", "b", null, {}], "image_index": 0}}',
    '{"name": "crop_image", "arguments": {"bbox_2d": [true, false, true, true]}}',
    '{"name": "crop_image", "arguments": {"bbox_2d": {"x1": "1e400"}}}',
    '{"name": "crop_image", "arguments": {"bbox_2d": ' + "[" * 30_000 + "}}",
    "crop_image(bbox_2d=[" + "9" * 1900 + ", 1, 2, 3])",
    "crop_image(bbox_2d=" + "[" * 900 + ")",
    "[" + "9" * 5000 + ", 1, 2, 3]",
    "[" + ", ".join("7" * 20_000) + "]",
    "(" * 100_000 + "1, 2, 3, 4" + ")" * 100_000,
    "[1 " * 60_000,
    "<tool_call>" * 18_000,
    "<think>" * 20_000 + "[1400, 210, 1960, 490]",
    "red " * 50_000,
    "\x1b[2J\x00\u202e" * 100,
    "",
)


@pytest.mark.integration
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_replies_are_no_box_and_no_fault(text: str) -> None:
    found, _ = asked(replace(PIXELS, answers=lambda _: {"content": text}))
    assert found.coordinates in (None, "pixel")


@pytest.mark.integration
@pytest.mark.parametrize(
    "arguments",
    [
        "{", "[]", "null", '{"bbox_2d": [1e999, 1, 2, 3]}', '{"bbox_2d": ' + "9" * 400 + "}",
        '{"bbox_2d": "' + "9," * 9000 + '"}',
        '{"bbox_2d": [[[[1]]], 2, 3, 4]}', '{"bbox_2d": [' + "1," * 90_000 + "1]}",
    ],
    ids=range(8),
)  # fmt: skip
def test_hostile_calls_are_no_box_and_no_fault(arguments: str) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "crop_image", "arguments": arguments}}
    found, _ = asked(replace(PIXELS, answers=lambda _: {"content": None, "tool_calls": [call]}))
    assert found.coordinates is None
