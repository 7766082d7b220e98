"""Parts of messages as clients of several APIs write them: read alike, and what has no effect is named."""

import json
import tracemalloc
from typing import Any

import pytest

from virc.reasoning.session import Message
from virc.serving.agent.request import Problem, read
from virc.serving.agent.responses import as_chat
from virc.serving.chat_request import RefusedError
from virc.serving.chat_request import read as read_plain

DATA = "data:image/png;base64,AAAA"
TEXT = {"type": "text", "text": "What is it?"}
PICTURES: list[dict[str, Any]] = [
    {"type": "image_url", "image_url": {"url": DATA}},
    {"type": "image_url", "image_url": DATA},
    {"type": "image_url", "image_url": {"url": f"\n{DATA} "}},
    {"type": "input_image", "image_url": DATA, "detail": "auto", "file_id": None},
    {"type": "input_image", "image_url": {"url": DATA, "detail": "auto"}},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
    {"type": "image", "source": {"type": "url", "url": DATA}},
    {"type": "image", "url": DATA},
    {"type": "image", "image": DATA},
]


def body(*parts: Any, role: str = "user") -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": role, "content": [*parts, TEXT]}]}).encode()


def agent(content: bytes) -> tuple[Problem, list[str]]:
    return read(content, most_images=2, most_characters=1000)


@pytest.mark.parametrize("picture", PICTURES)
def test_an_image_is_read_as_any_api_has_it(picture: dict[str, Any]) -> None:
    assert agent(body(picture)) == (Problem("m", "What is it?"), [DATA])
    plain = read_plain(body(picture), 2, 1000)
    assert (plain.messages, plain.pictures) == ((Message("user", "What is it?", (0,)),), (DATA,))
    response = {"model": "m", "input": [{"role": "user", "content": [picture, TEXT]}]}
    assert agent(as_chat(json.dumps(response).encode())) == (Problem("m", "What is it?"), [DATA])


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ({"type": "image_url", "image_url": {"url": DATA, "format": "image/png"}}, ("image_url.format",)),
        ({"type": "input_image", "image_url": DATA, "name": "a", "x": 1}, ("content.name", "content.x")),
        ({"type": "image_url", "image_url": DATA, "a\r\nb, é": None}, ("content.a??b???",)),
    ],
)
def test_fields_that_no_part_has_are_ignored_and_named(part: dict[str, Any], names: tuple[str, ...]) -> None:
    assert agent(body(part)) == (Problem("m", "What is it?", ignored=names), [DATA])
    assert read_plain(body(part), 2, 1000).ignored == names
    many = {f"n{number}": number for number in range(99)}
    assert len(agent(body({**part, **many}))[0].ignored) == 16


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, "object missing required field source"),
        ({"type": "input_image", "file_id": "f", "image_url": DATA}, "expected null, got str"),
        ({"type": "image", "image": "/etc/passwd"}, "an image must be a data URL"),
        ({"type": "input_audio"}, "invalid value 'input_audio'"),
        ({"text": "?"}, "object missing required field type"),
    ],
)
def test_a_part_that_is_none_is_refused(part: dict[str, Any], said: str) -> None:
    for reader in (lambda: agent(body(part)), lambda: read_plain(body(part), 2, 1000)):
        with pytest.raises(RefusedError) as caught:
            reader()
        assert said in caught.value.message
        assert (caught.value.param or "").startswith("messages[0].content[0]")


def test_fields_cost_no_more_memory_than_is_counted() -> None:
    fields = ",".join(f'"n{number}":0' for number in range(600_000))
    bodies = [
        b'{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"?",%b}]}]}' % fields.encode(),
        b'{"model":"m","input":[{"role":"user","content":"?",%b}]}' % fields.encode(),
    ]
    for content, reader in zip(bodies, (agent, as_chat), strict=True):
        tracemalloc.start()
        try:
            with pytest.raises(RefusedError, match="too many objects"):
                reader(content)
            assert tracemalloc.get_traced_memory()[1] < 2**20
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    ("more", "ignored"),
    [
        ({"role": "user", "cache_control": {"type": "ephemeral"}}, ("messages.cache_control",)),
        ({"role": "assistant", "reasoning_content": "I look."}, ("messages.reasoning_content",)),
        ({"role": "assistant", "new\r\nin": 7, "audio": None, "refusal": None}, ("messages.new??in",)),
        ({"role": "user", "refusal": None, "images": None}, ()),
    ],
)
def test_fields_of_messages_that_have_no_effect_are_named(more: dict[str, Any], ignored: tuple[str, ...]) -> None:
    earlier = {"content": "Well.", **more}
    asked = {"model": "m", "messages": [earlier, {"role": "user", "content": [PICTURES[0], TEXT]}]}
    problem, _ = agent(json.dumps(asked).encode())
    assert problem.ignored == ignored


def test_no_limit_of_tokens_may_be_written_as_minus_one() -> None:
    name = "max_completion_tokens"
    asked = {**json.loads(body(PICTURES[0])), name: -1, "cache_control": {"type": "ephemeral"}}
    problem, _ = agent(json.dumps(asked).encode())
    assert (problem.max_tokens, problem.ignored) == (None, ("cache_control", name))
    with pytest.raises(RefusedError, match=name):
        agent(json.dumps({**asked, name: -2}).encode())
