"""What a chat completion request may hold, and what it is told where it does not."""

import json
from typing import Any

import pytest

from virc.reasoning.session import Message
from virc.serving.agent.request import AgentProblem, read_problem
from virc.serving.agent.responses import as_chat
from virc.serving.chat_request import ChatRequest, RefusedError, read_chat_request

URL = "data:image/png;base64,AAAA"
PICTURE = {"type": "image_url", "image_url": {"url": URL}}
TEXT = {"type": "text", "text": "What is it?"}


def asked(**fields: Any) -> bytes:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "What is it?"}]}
    return json.dumps({**body, **fields}).encode()


def taken(body: bytes) -> ChatRequest:
    return read_chat_request(body, most_images=2, most_characters=1000)


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


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"n": 2}, "n", "n cannot be honoured"),
        ({"temprature": 0}, "temprature", "did you mean 'temperature'?"),
        ({"seed": 2**70}, "seed", "expected int <="),
        ({"messages": [{"role": "tool", "content": ""}]}, "messages[0].role", "tool calls cannot be honoured"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "type", "input_audio"),
        ({"messages": [{"role": "user", "content": [{**PICTURE, "uuid": "1"}]}]}, "content[0]", "uuid"),
        ({"messages": [{"role": "system", "content": [PICTURE]}]}, "messages[0]", "only a message of role user"),
        ({"messages": [{"role": "user", "content": "x" * 1001}]}, "messages", "context length"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_by_name(fields: dict[str, Any], param: str, said: str) -> None:
    refused = refusal(asked(**fields))
    assert refused.status == 400
    assert said in refused.message
    assert refused.param is not None
    assert refused.param.endswith(param)


# ---- parts of messages as clients of several APIs write them, for this server and for the agent

PICTURES: list[dict[str, Any]] = [
    {"type": "image_url", "image_url": {"url": URL}},
    {"type": "image_url", "image_url": URL},
    {"type": "image_url", "image_url": {"url": f"\n{URL} "}},
    {"type": "input_image", "image_url": URL, "detail": "auto", "file_id": None},
    {"type": "input_image", "image_url": {"url": URL, "detail": "auto"}},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
    {"type": "image", "source": {"type": "url", "url": URL}},
    {"type": "image", "url": URL},
    {"type": "image", "image": URL},
]


def body(*parts: Any, role: str = "user") -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": role, "content": [*parts, TEXT]}]}).encode()


def agent(content: bytes) -> tuple[AgentProblem, list[str]]:
    return read_problem(content, most_images=2, most_characters=1000)


@pytest.mark.parametrize("picture", PICTURES)
def test_an_image_is_read_as_any_api_has_it(picture: dict[str, Any]) -> None:
    assert agent(body(picture)) == (AgentProblem("m", "What is it?"), [URL])
    plain = read_chat_request(body(picture), 2, 1000)
    assert (plain.messages, plain.pictures) == ((Message("user", "What is it?", (0,)),), (URL,))
    response = {"model": "m", "input": [{"role": "user", "content": [picture, TEXT]}]}
    assert agent(as_chat(json.dumps(response).encode())) == (AgentProblem("m", "What is it?"), [URL])


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ({"type": "image_url", "image_url": {"url": URL, "format": "image/png"}}, ("image_url.format",)),
        ({"type": "input_image", "image_url": URL, "name": "a", "x": 1}, ("content.name", "content.x")),
        ({"type": "image_url", "image_url": URL, "a\r\nb, é": None}, ("content.a??b???",)),
    ],
)
def test_fields_that_no_part_has_are_ignored_and_named(part: dict[str, Any], names: tuple[str, ...]) -> None:
    assert agent(body(part)) == (AgentProblem("m", "What is it?", ignored=names), [URL])
    assert read_chat_request(body(part), 2, 1000).ignored == names
    many = {f"n{number}": number for number in range(99)}
    assert len(agent(body({**part, **many}))[0].ignored) == 16
