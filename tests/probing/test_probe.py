"""The probe held against servers whose model looks at the pixels it is sent: is what it finds true of them?"""

from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from rows import NOISE, QWEN3, ROWS, SEEDS, Row, at_random, probed, right, truth
from support.servers import dead_url, serve
from vision_server import Eyes, Vision, VisionServer, looks, see

from virc.backends.openai import refusals as limits
from virc.backends.openai.backend import OpenAIBackend
from virc.core.errors import ConfigError, VircError
from virc.core.events import Event
from virc.families import registry as families
from virc.models import probe_endpoint
from virc.probing import pictures
from virc.probing.identity import Identity, identify
from virc.probing.probe import MAX_REQUESTS, _box_ask, _zoom_ask, probe
from virc.probing.result import Probed
from virc.reasoning.bodies import Called
from virc.reasoning.images import Shown
from virc.reasoning.protocol import own_protocol
from virc.reasoning.session import Called as Asked
from virc.reasoning.session import Reply
from virc.tools import registry as tools

LARGE = Shown(pictures.large()).data_url
PIXELS = Vision("qwen2.5-vl-7b", "llamacpp", noise=NOISE)
THOUSANDTHS = Vision("qwen3-vl-8b", "llamacpp", eyes=QWEN3, unit="thousand", noise=NOISE)


def asked(vision: Vision, alive: int | None = None) -> tuple[Probed, VisionServer]:
    """What a probe finds of a server, and the server."""
    with see(vision) as server:
        server.alive = alive
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
@pytest.mark.slow
@pytest.mark.parametrize("start", [5000, 6000])
def test_the_unit_of_random_servers_is_always_found_and_their_scaling_mostly(
    start: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prints the shares; what is not found has to be unknown rather than wrong, nearly always."""
    count, correct, units, wrong = 100, 0, 0, []
    for seed in range(start, start + count):
        vision, true = at_random(seed)
        found, _ = asked(vision)
        correct += right(found, true)
        units += (found.coordinates, found.box) == true[:2]
        if not right(found, true) and found.scaling is not None:
            wrong.append((seed, found.scaling, found.longest, true))
    with capsys.disabled():
        print(f"\n{start}: {correct} of {count} right, {units} units, stated and wrong: {wrong}")
    assert units == count
    assert correct >= 0.88 * count
    assert len(wrong) <= 0.03 * count


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


def test_largest_picture_known_to_be_shown_unchanged() -> None:
    none, _ = asked(PIXELS)
    assert (none.longest, none.max_pixels) == (None, 2240 * 1120)
    down, _ = asked(replace(PIXELS, eyes=Eyes(longest=1024)))
    assert (down.longest, down.max_pixels) == (1024, 1024 * 512)
    relative, _ = asked(THOUSANDTHS)
    assert (relative.longest, relative.max_pixels) == (None, None)


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
    "Image count {sent} exceeds limit {most} per request.",
    "Too many images in request: {sent} images provided, but the model supports a maximum of {most} images.",
    "messages: too many images and documents: {sent} + 0 > {most}",
)


@pytest.mark.parametrize("most", [8])
@pytest.mark.parametrize("says", LIMITS)
def test_a_limit_that_is_named_is_found_exactly(says: str, most: int) -> None:
    assert limits.pictures_allowed(says.format(most=most, sent=17), 17) == most
    if most == 8 or says is LIMITS[0]:
        found, _ = asked(replace(PIXELS, pictures=most, says=says))
        assert (found.images, found.ordered, found.requests) == (most, True, 3)


def test_a_limit_without_a_number_is_looked_for() -> None:
    found, server = asked(replace(PIXELS, pictures=6, says="too many images"))
    assert (found.images, found.asked_images, found.ordered) == (4, 17, True)
    assert len(server.posts()) == 3


# Calls, thoughts, context, parameters


def test_calls_of_told_tools_are_asked_for_where_no_call_came() -> None:
    found, server = asked(replace(PIXELS, calls="native"))
    assert found.calls == "native"
    assert found.coordinates == "pixel"
    assert ["tools" in body for body in server.posts()] == [False, True, False]


@pytest.mark.parametrize("calls", ["xml", "gemma"])
@pytest.mark.parametrize(("thoughts", "seen"), [("tags", "tags"), ("end", "tags"), ("reasoning", "apart")])
def test_calls_and_thoughts_of_every_form(calls: Any, thoughts: str, seen: str) -> None:
    found, _ = asked(replace(PIXELS, calls=calls, thoughts=thoughts))
    assert (found.calls, found.thoughts, found.coordinates) == ("text", seen, "pixel")


@pytest.mark.parametrize("told", ["models", "props"])
def test_context_that_the_server_tells(told: Any) -> None:
    assert asked(replace(PIXELS, context=20_480, context_in=told))[0].context == 20_480


def test_context_is_learnt_of_a_refusal() -> None:
    """The large picture fits, seventeen enlarged ones do not."""
    eyes = Eyes(factor=32, least=1024 * 32 * 32, most=16_777_216)
    found, server = asked(replace(THOUSANDTHS, eyes=eyes, context=8192, context_in="error"))
    assert found.context == 8192
    assert (found.images, found.ordered) == (4, True)
    assert len(server.posts()) <= 4


def test_parameters_that_are_refused_are_learnt() -> None:
    found, server = asked(replace(PIXELS, refuses=("max_tokens", "temperature")))
    assert found.left_out == ("max_tokens", "temperature")
    assert "max_completion_tokens" in server.posts()[-1]
    assert found.requests == 4


def test_a_server_that_refuses_one_parameter_after_the_other_is_asked_four_times() -> None:
    refuses = ("temperature", "stream_options", "max_tokens", "max_completion_tokens", "stream")
    with see(replace(PIXELS, refuses=refuses)) as server:
        with pytest.raises(ConfigError, match="refused every request"):
            probed(server)
        assert len(server.posts()) == MAX_REQUESTS


# Servers that break, and replies that would break the probe


def test_what_was_found_before_a_server_died_is_told() -> None:
    found, _ = asked(PIXELS, alive=1)
    assert (found.coordinates, found.scaling, found.calls) == ("pixel", "none", "text")
    assert (found.images, found.ordered, found.context) == (None, None, None)
    assert found.ended


def test_a_dead_server_is_an_error() -> None:
    with pytest.raises(VircError):
        OpenAIBackend(dead_url(), "m", None, timeout=5, max_retries=0)
    with see(PIXELS) as server:
        server.alive = 0
        with pytest.raises(VircError):
            probed(server)


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


@pytest.mark.parametrize("native", [False, True])
def test_the_turn_after_a_call_shows_the_rectangle_alone(native: bool) -> None:
    ask = _box_ask(families.protocol(families.UNKNOWN, native=native), Shown(pictures.large()))
    call, message = Called("crop_image", {"bbox_2d": [1, 2, 3, 4]}), {"reasoning": "I look."}
    sent: Any = SimpleNamespace(text="the text", before="Well.", called=(call,))
    zoomed = _zoom_ask(ask, Reply("", message=message), sent)
    assert zoomed.images[1].pixels.getcolors() == [(560 * 280, pictures.PALETTE["red"])]
    assert [(each.role, each.images) for each in zoomed.messages[len(ask.messages) :]] == [
        ("assistant", ()), ("user", (1,)),
    ]  # fmt: skip
    assert zoomed.called == ({len(ask.messages): Asked("Well.", (call,), ("",), message)} if native else {})


def told(**facts: Any) -> Identity:
    """What an Ollama says of a model."""
    shown = {"modified_at": "today", "model_info": {"general.architecture": "qwen3vl", "general.name": "n" * 2000}}
    shown["model_info"] = {**shown["model_info"], "general.parameter_count": 8, **facts.pop("info", {})}  # type: ignore[dict-item]
    backend: Any = SimpleNamespace(
        kind="library", weights=(), root=None, model="m", json_object=lambda *_: {**shown, **facts}
    )
    return identify(backend)


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


def test_a_refused_probe_is_said_as_it_is_and_one_that_cannot_be_kept_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Probed) -> Any:
        raise OSError(28, "No space left on device")

    with see(replace(PIXELS, context=900, context_in="error")) as server:
        with pytest.raises(ConfigError, match="maximum context length is 900 tokens"):
            probe_endpoint.probe_endpoint(server.url)
        known = Probed(endpoint=server.url, model="m", coordinates="unit", calls="text")
        monkeypatch.setattr(probe_endpoint, "_probed", lambda *_: known)
        monkeypatch.setattr(probe_endpoint, "keep", full)
        said = list[Event]()
        found, file = probe_endpoint.probe_endpoint(server.url, on_event=said.append)
    assert (found.coordinates, found.kept > 0, file) == ("unit", True, None)
    assert [(each.kind, each.text) for each in said] == [
        ("warning", "the result could not be kept, and will not be used: no space left on device")
    ]


def test_counts_without_what_a_server_kept_are_not_believed() -> None:
    """Some count only what is new: of the second request with the same text that is its end."""
    found, _ = asked(replace(THOUSANDTHS, model="alias", counts_kept=False))
    assert found.scaling is None
    assert found.requests == 3
    assert asked(replace(THOUSANDTHS, model="alias"))[0].scaling == "none"


def test_a_model_that_is_served_under_another_name_is_known_by_its_root() -> None:
    class Rooted(OpenAIBackend):
        root = "Qwen/Qwen3-VL-8B-Instruct"

    with see(replace(THOUSANDTHS, model="mine")) as server:
        backend = Rooted(server.url, None, None, timeout=30, max_retries=0, counts_image_tokens=False)
        found = [probe(each, server.url).family for each in (backend, OpenAIBackend(server.url, max_retries=0))]
        backend.close()
    assert found == ["qwen3-vl", None]
