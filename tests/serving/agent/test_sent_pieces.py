"""Two samples as they are sent: streamed and whole, by both APIs; and what plain chats and pipelines are answered."""

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from virc.reasoning.session import Unit
from virc.serving.agent import wire
from virc.serving.agent.answer import Answer
from virc.serving.agent.request import Problem
from virc.solving.one import SampleStart

FRAMED = {"id": "x", "created": 7, "model": "m"}
FIRST = [
    SampleStart(1, 2), Unit("", "a"), Unit("", "b"), wire.Looked(0, image=1), wire.Looked(1, image=2),
    Answer("one", "no", "length", None, 2, 3),
]  # fmt: skip
SECOND = [SampleStart(2, 2), Unit("", "c"), wire.Looked(0, image=1), Answer("two", None, "stop", None, 5, 7)]


def values(text: str) -> list[dict[str, Any]]:
    lines = [line for block in text.split("\n\n") for line in block.split("\n") if line.startswith("data: {")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


@pytest.mark.parametrize("counted", [False, True])
def test_samples_are_streamed_each_with_its_own_thoughts_and_looks(counted: bool) -> None:
    stream = wire.Events(FRAMED, Problem("m", "?", counted=counted))
    text = "".join(map(stream.event, [*FIRST, *SECOND])) + stream.ended()
    assert text.endswith("data: [DONE]\n\n")
    *chunks, last = values(text) if counted else [*values(text), {}]
    told = [(each["choices"][0]["index"], each["choices"][0]["delta"]) for each in chunks]
    looks = [(at, delta[wire.TOOL_CALLS][0]) for at, delta in told if wire.TOOL_CALLS in delta]
    assert [(at, look["index"], look["image"]) for at, look in looks] == [(0, 0, 1), (0, 1, 2), (1, 0, 1)]
    assert [each for each in told if wire.TOOL_CALLS not in each[1]] == [
        (0, {"role": "assistant", "content": ""}), (0, {"reasoning_content": "a"}),
        (0, {"reasoning_content": "\n\nb"}), (0, {"content": "one", "refusal": "no"}), (0, {}),
        (1, {"role": "assistant", "content": ""}), (1, {"reasoning_content": "c"}), (1, {"content": "two"}), (1, {}),
    ]  # fmt: skip
    ends = [each["choices"][0]["finish_reason"] for each in chunks]
    assert [end for end in ends if end] == ["length", "stop"]
    usage = {"prompt_tokens": 7, "completion_tokens": 10, "total_tokens": 17}
    assert last == ({**FRAMED, "object": "chat.completion.chunk", "choices": [], "usage": usage} if counted else {})


@pytest.mark.parametrize(("size", "sent"), [((300, 200), (300, 200)), ((3136, 784), (1568, 392))])
def test_a_look_is_sent_in_good_quality_and_its_picture_stays(size: tuple[int, int], sent: tuple[int, int]) -> None:
    picture = Image.effect_noise(size, 80).convert("RGB")
    url = wire.jpeg_url(picture)
    found = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    picture.save(file := io.BytesIO(), "JPEG", quality=90)
    assert (found.size, picture.size) == (sent, size)
    assert found.quantization == Image.open(file).quantization  # type: ignore[attr-defined]
