"""The probe held against servers whose model looks at the pixels it is sent: is what it finds true of them?"""

from dataclasses import replace
from random import Random
from typing import Any

import msgspec
import pytest
from rows import NOISE, QWEN3, ROWS, SEEDS, Row, probed, right, truth
from support.servers import serve
from vision_server import Eyes, Vision, VisionServer, looks, see

from virc.backends.openai import refusals as limits
from virc.core.errors import ConfigError
from virc.models import probe_endpoint
from virc.probing import pictures
from virc.probing.probe import MAX_REQUESTS
from virc.probing.result import Probed
from virc.reasoning.images import Shown
from virc.reasoning.protocol import own_protocol
from virc.tools import registry as tools

LARGE = Shown(pictures.large()).data_url
PIXELS = Vision("qwen2.5-vl-7b", "llamacpp", noise=NOISE)
THOUSANDTHS = Vision("qwen3-vl-8b", "llamacpp", eyes=QWEN3, unit="thousand", noise=NOISE)


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


@pytest.mark.parametrize("model", ["an-alias"])
def test_small_pictures_that_are_enlarged_are_noticed(model: str) -> None:
    """As llama.cpp does with --image-min-tokens 1024, which Ollama sets: boxes come in pixels of the larger picture."""
    found, _ = asked(replace(PIXELS, model=model, eyes=Eyes(least=1024 * 28 * 28, most=4096 * 28 * 28)))
    assert found.min_pixels == pytest.approx(1024 * 28 * 28, rel=0.05)
    assert found.scaling == "none"
    usual, _ = asked(replace(PIXELS, model=model))
    assert usual.min_pixels is None


# Order and number of pictures


def test_pictures_that_are_dropped_are_not_counted() -> None:
    """A server that shows the newest alone takes seventeen, and its model sees one."""
    found, server = asked(replace(THOUSANDTHS, order="newest"))
    assert found.images == 1
    assert found.ordered is None
    assert [len(body["messages"]) for body in server.posts()] == [2, 33, 7, 1]


LIMITS = (
    "At most {most} image(s) may be provided in one prompt. Set `--limit-mm-per-prompt` to increase this limit.",
    "messages: too many images and documents: {sent} + 0 > {most}",
)


@pytest.mark.parametrize("says", LIMITS)
def test_a_limit_that_is_named_is_found_exactly(says: str) -> None:
    assert limits.pictures_allowed(says.format(most=8, sent=17), 17) == 8
    found, _ = asked(replace(PIXELS, pictures=8, says=says))
    assert (found.images, found.ordered, found.requests) == (8, True, 3)


# Calls, thoughts, context, parameters


@pytest.mark.parametrize(
    ("calls", "thoughts", "seen"), [("xml", "tags", "tags"), ("gemma", "end", "tags"), ("xml", "reasoning", "apart")]
)
def test_calls_and_thoughts_of_every_form(calls: Any, thoughts: str, seen: str) -> None:
    found, _ = asked(replace(PIXELS, calls=calls, thoughts=thoughts))
    assert (found.calls, found.thoughts, found.coordinates) == ("text", seen, "pixel")


def test_context_is_learnt_of_a_refusal() -> None:
    """The large picture fits, seventeen enlarged ones do not."""
    eyes = Eyes(factor=32, least=1024 * 32 * 32, most=16_777_216)
    found, server = asked(replace(THOUSANDTHS, eyes=eyes, context=8192, context_in="error"))
    assert found.context == 8192
    assert (found.images, found.ordered) == (4, True)
    assert len(server.posts()) <= 4


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


# Single rules


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("<|box_start|>(1,2),(3,4)<|box_end|>", [1, 2, 3, 4]),
        ('first [9, 9, 9, 9], then {"bbox_2d": [0.25, .5, 1, 1], "l": [0.5, 0.25, 1.0, 1]}', [0.5, 0.25, 1, 1]),
        ("[1234, 5, 6]", None),
        ("[1, 2, 3, 4, 5]", None),
    ],
)
def test_boxes_in_words(text: str, box: list[float] | None) -> None:
    assert pictures.numbers(text) == box


PUBLISHED = msgspec.to_builtins(own_protocol(tools.schemas(tools.DEFAULT)))


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ({"virc_agent": True}, "the endpoint runs the tool loop itself: use any OpenAI client"),
        ({"virc_protocol": PUBLISHED}, "the endpoint publishes it"),
    ],
)
def test_a_model_whose_chat_protocol_is_known_is_not_probed(extra: dict[str, Any], why: str) -> None:
    with serve(extra=extra) as server:
        with pytest.raises(ConfigError, match=rf"needs no probe: it has a chat protocol of its own \({why}\)") as told:
            probe_endpoint.probe_endpoint(server.url)
        assert told.value.hint == f"virc solve --endpoint {server.url} IMAGE 'QUESTION'"
        assert not server.chats()


def test_counts_without_what_a_server_kept_are_not_believed() -> None:
    """Some count only what is new: of the second request with the same text that is its end."""
    found, _ = asked(replace(THOUSANDTHS, model="alias", counts_kept=False))
    assert found.scaling is None
    assert found.requests == 3
    assert asked(replace(THOUSANDTHS, model="alias"))[0].scaling == "none"


@pytest.mark.parametrize(
    ("box", "counted"),
    [
        ([210, 1400, 490, 1960], ("pixel", "corners_yx", 1)),
        ([700, 105, 980, 245], ("pixel", "corners", 0.5)),
        ([625, 187.5, 875, 437.5], ("thousand", "corners", 1)),
        ([0.1875, 0.625, 0.4375, 0.875], ("unit", "corners_yx", 1)),
        ([0, 0, 2240, 1120], None),
        ([1400, 210, 1960, 1e300], None),
    ],
)
def test_how_a_box_is_counted(box: Any, counted: tuple[str, str, float] | None) -> None:
    found = pictures.counted(box)
    assert (found and (found.coordinates, found.box, found.scale)) == counted
