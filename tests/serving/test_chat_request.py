"""What a chat completion request may hold, and what it is told where it does not."""

import json
import tracemalloc
from typing import Any

import pytest

from virc.backends.interface import Sampling
from virc.reasoning.session import Message
from virc.serving.chat_request import ChatRequest, RefusedError, read

URL = "data:image/png;base64,AAAA"
PICTURE = {"type": "image_url", "image_url": {"url": URL}}
TEXT = {"type": "text", "text": "What is it?"}


def asked(**fields: Any) -> bytes:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "What is it?"}]}
    return json.dumps({**body, **fields}).encode()


def taken(body: bytes) -> ChatRequest:
    return read(body, most_images=2, most_characters=1000)


def refusal(body: bytes) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        taken(body)
    return caught.value


def test_images_count_through_the_conversation_and_stand_where_they_were_sent() -> None:
    messages = [
        {"role": "system", "content": "Look closer."},
        {"role": "user", "content": [TEXT, PICTURE]},
        {"role": "assistant", "content": [TEXT, {"type": "text", "text": " Or not?"}]},
        {"role": "user", "content": [TEXT, TEXT, PICTURE, TEXT]},
    ]
    request = taken(asked(messages=messages))
    assert request.messages == (
        Message("system", "Look closer."),
        Message("user", "What is it?", (0,), at=(11,)),
        Message("assistant", "What is it? Or not?"),
        Message("user", "What is it?\nWhat is it?What is it?", (1,), at=(23,)),
    )
    assert request.pictures == (URL, URL)


def test_what_is_said_is_honoured() -> None:
    said = {"temperature": 0.5, "top_p": 0.9, "top_k": 20, "seed": -3, "stream": True, "user": "me"}
    request = taken(asked(**said, max_tokens=9, max_completion_tokens=7, stream_options={"include_usage": True}))
    assert request.sampling == Sampling(temperature=0.5, top_p=0.9, top_k=20, seed=-3, max_tokens=7)
    assert (request.streamed, request.counted) == (True, True)
    assert taken(asked(repetition_penalty=1.05)).sampling.repetition_penalty == 1.05
    assert not taken(asked(stream=True, stream_options={})).counted
    assert refusal(asked(repetition_penalty=0)).param == "repetition_penalty"
    assert taken(asked(top_k=-1)).sampling.top_k is None
    assert [taken(asked(top_k=given)).sampling.top_k for given in (0, 1, 2)] == [None, 1, 2]


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_an_answer_may_be_sent_back_as_it_came() -> None:
    answer = {"role": "assistant", "refusal": "no", "reasoning_content": "Hm.", "annotations": [{"a": [1]}]}
    answer |= {"virc_tool_calls": [{}], "provider_specific_fields": None}
    messages = [{"role": "developer", "content": "Brief.", "name": "me"}, answer, {**answer, "content": "5"}]
    told = Message("system", "Brief."), Message("assistant", ""), Message("assistant", "5")
    assert taken(asked(messages=messages)).messages == told


EMPTY = ",".join(["{}"] * 200_000)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (f'{{"n": [{EMPTY}]}}', "n cannot be honoured"),
        (f'{{"messages": [{{"role": "user", "content": [{EMPTY}]}}]}}', "messages[0].content[0]: object missing"),
        ("{" + ",".join(f'"n{number}":0' for number in range(200_000)) + "}", "unknown parameter 'n0'"),
        (f'{{"messages": [{EMPTY},{EMPTY}]}}', "the body holds too many objects"),
    ],
)
def test_nothing_is_made_of_what_is_refused(body: str, said: str) -> None:
    """200,000 dictionaries would take 12 MiB."""
    content = body.encode()
    tracemalloc.start()
    try:
        refused = refusal(content)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert refused.message.startswith(said)


SAID = {"role": "user", "content": "Well."}


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"n": 2}, "n", "n cannot be honoured"),
        ({"response_format": {"type": "json_object"}}, "response_format", "cannot be honoured"),
        ({"temprature": 0}, "temprature", "did you mean 'temperature'?"),
        ({"mxyzptlk": 0}, "mxyzptlk", "it is not honoured here"),
        ({"temperature": -1}, "temperature", ">= 0"), ({"max_tokens": 0}, "max_tokens", ">= 1"),
        ({"seed": 2**70}, "seed", "expected int <="),
        ({"stream_options": {"chunk": 1}}, "stream_options", "unknown field"),
        ({"messages": [{"role": "tool", "content": ""}]}, "messages[0].role", "tool calls cannot be honoured"),
        ({"messages": [{"role": "assistant", "tool_calls": [CALL]}]}, "messages[0].tool_calls", "cannot be honoured"),
        ({"messages": [{"role": "user", "content": [TEXT] * 1025}]}, "messages[0].content", "<= 1024"),
        ({"messages": [{"role": "user", "content": [{"type": "video_url"}]}]}, "type", "video_url"),
        ({"messages": [{"role": "user", "content": [{**PICTURE, "uuid": "1"}]}]}, "content[0]", "uuid"),
        ({"messages": [{"role": "system", "content": [PICTURE]}]}, "messages[0]", "only a message of role user"),
        ({"messages": [{"role": "user", "content": "x" * 1001}]}, "messages", "context length"),
        ({"messages": [{"role": "user", "content": "x" * 501}] * 2}, "messages", "the texts have 1002 characters"),
        ({"messages": [SAID, {"role": "user", "content": "", "mane": 1}]}, "messages[1]", "mane"),
        ({"max_tokens": -2}, "max_tokens", ">= 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_by_name(fields: dict[str, Any], param: str, said: str) -> None:
    refused = refusal(asked(**fields))
    assert refused.status == 400
    assert said in refused.message
    assert refused.param is not None
    assert refused.param.endswith(param)


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    assert refusal(body).message in ("the body is not valid JSON", "the body is not a JSON object")
