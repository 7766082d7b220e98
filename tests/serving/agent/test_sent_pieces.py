"""Two samples as they are sent: streamed and whole, by both APIs; and what plain chats and pipelines are answered."""

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from virc.reasoning.session import Unit
from virc.serving.agent import responses, wire
from virc.serving.agent.answer import Answer, ClientCall
from virc.serving.agent.request import Problem
from virc.serving.chat_request import RefusedError
from virc.solving.one import SampleStart

FRAMED = {"id": "x", "created": 7, "model": "m"}
FIRST = [
    SampleStart(1, 2), Unit("", "a"), Unit("", "b"), wire.Looked(0, image=1), wire.Looked(1, image=2),
    Answer("one", "no", "length", None, 2, 3),
]  # fmt: skip
SECOND = [SampleStart(2, 2), Unit("", "c"), wire.Looked(0, image=1), Answer("two", None, "stop", None, 5, 7)]
CALL = Answer("", None, "tool_calls", ClientCall("f", '{"a": 1}'), 2, 3)


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


@pytest.mark.parametrize("answer", [FIRST[-1], SECOND[-1], CALL], ids=["cut", "whole", "call"])
def test_a_response_is_its_events_put_together(answer: Any) -> None:
    made = responses.Response(FRAMED)
    events = values("".join(map(made.event, [*FIRST[:-1], answer])) + made.ended())
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    done = [each for each in events if each["type"] == "response.output_item.done"]
    added = [each for each in events if each["type"] == "response.output_item.added"]
    assert [each["output_index"] for each in added] == [each["output_index"] for each in done] == [0, 1]
    whole = events[-1]["response"]
    assert whole["output"] == [each["item"] for each in done]
    thoughts, last = whole["output"]
    assert thoughts["summary"] == [{"type": "summary_text", "text": "a\n\nb"}]
    assert "".join(each["delta"] for each in events if each["type"].endswith("summary_text.delta")) == "a\n\nb"
    assert [look["index"] for look in last[wire.TOOL_CALLS]] == [0, 1]
    cut = answer.finish == "length"
    assert whole["status"] == events[-1]["type"].removeprefix("response.") == ("incomplete" if cut else "completed")
    assert whole["incomplete_details"] == ({"reason": "max_output_tokens"} if cut else None)
    counts = [whole["usage"][name] for name in ("input_tokens", "output_tokens", "total_tokens")]
    assert counts == [answer.prompt_tokens, answer.completion_tokens, answer.prompt_tokens + answer.completion_tokens]
    of_answer = [each for each in events if each.get("item_id") == last["id"]]
    assert {each["output_index"] for each in of_answer} == {1}
    if answer.call:
        assert (last["name"], last["arguments"]) == ("f", '{"a": 1}')
    else:
        (part,) = last["content"]
        assert (part["type"], part.get("text"), part.get("refusal")) == (
            ("refusal", None, "no") if answer.refusal else ("output_text", "two", None)
        )
    (failed,) = values(responses.Response(FRAMED).failed(RefusedError("too long", "input", "full")))
    assert failed == {"type": "error", "sequence_number": 0, "code": "full", "message": "too long", "param": "input"}
    unthought = responses.Response(FRAMED)
    assert "reasoning" not in unthought.event(SampleStart(1, 1)) + unthought.event(answer)


@pytest.mark.parametrize(("size", "sent"), [((300, 200), (300, 200)), ((3136, 784), (1568, 392))])
def test_a_look_is_sent_in_good_quality_and_its_picture_stays(size: tuple[int, int], sent: tuple[int, int]) -> None:
    picture = Image.effect_noise(size, 80).convert("RGB")
    url = wire.jpeg_url(picture)
    found = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    picture.save(file := io.BytesIO(), "JPEG", quality=90)
    assert (found.size, picture.size) == (sent, size)
    assert found.quantization == Image.open(file).quantization  # type: ignore[attr-defined]
