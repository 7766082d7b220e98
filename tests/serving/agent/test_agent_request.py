"""What a chat may hold to be a problem, and what it is told where it does not."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virc.serving import chat_request
from virc.serving.agent.request import AgentProblem, read_problem
from virc.serving.agent.responses import as_chat
from virc.serving.chat_request import RefusedError

URL = "data:image/png;base64,AAAA"
PICTURE = {"type": "image_url", "image_url": {"url": URL}}
TEXT = {"type": "text", "text": "What is it?"}


def asked(*messages: Any, **fields: Any) -> bytes:
    first = [{"role": "user", "content": [PICTURE, TEXT]}]
    return json.dumps({"model": "tiny", "messages": messages or first, **fields}).encode()


def taken(body: bytes) -> tuple[AgentProblem, list[str]]:
    return read_problem(body, most_images=2, most_characters=1000)


def refusal(body: bytes) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        taken(body)
    return caught.value


def test_a_chat_of_one_message_is_its_text_unchanged_and_greedy() -> None:
    assert taken(asked()) == (AgentProblem("tiny", "What is it?"), [URL])
    text = {"type": "text", "text": "  {question} \n<think>"}
    assert taken(asked({"role": "user", "content": [text, PICTURE]}))[0].question == "  {question} \n<think>"


def parts(*content: str) -> list[dict[str, Any]]:
    """The parts of a message; `*` is a picture."""
    return [PICTURE if each == "*" else {"type": "text", "text": each} for each in content]


@pytest.mark.parametrize(
    ("messages", "question"),
    [
        ([parts("my dog:", "*", "neighbour's dog:", "*")], "my dog:\ufffcneighbour's dog:\ufffc"),
        ([parts("*", "between", "*")], "\ufffcbetween\ufffc"),
        ([parts("*"), parts("What is it?", "*")], "User: \ufffc\n\nWhat is it?\ufffc"),
        ([parts("Which is larger?", "*", "*")], "Which is larger?"),
        ([parts("*", "What is it?"), parts("And why?")], "User: What is it?\n\nAnd why?"),
        ([parts("What does <image> do", "*", "in HTML?")], "What does <image> do\ufffcin HTML?"),
        ([parts("*", "\ufffcWhat is it?\ufffc")], "What is it?"),
    ],
)
def test_parts_keep_their_order_where_it_tells_something(messages: list[Any], question: str) -> None:
    chat = asked(*({"role": "user", "content": each} for each in messages))
    items = [{"role": "user", "content": [_of_responses(part) for part in each]} for each in messages]
    response = as_chat(json.dumps({"model": "tiny", "input": items}).encode())
    for body in (chat, response):
        problem, pictures = taken(body)
        assert problem.question == question
        assert pictures == [URL] * sum(part is PICTURE for each in messages for part in each)


def _of_responses(part: dict[str, Any]) -> dict[str, Any]:
    if part is PICTURE:
        return {"type": "input_image", "image_url": URL}
    return {"type": "input_text", "text": part["text"]}


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/x.png", "file:///etc/hostname", "/etc/hostname", "ftp://x", "", "https:example.org",
        "data:image/png;base64,Ä", "https://", "https:///x", "https://user@example.org/x",
        "https://a:b@example.org/", "https://example.org:0/", "https://example.org:99999/", "https://[::1/",
        "https://example.org/a b", "https://exämple.org/", "https://example.org/\r\nX: y",
        f"https://example.org/{'x' * 9000}", "//example.org/x.png",
    ],
)  # fmt: skip
def test_other_addresses_are_refused(url: str) -> None:
    refused = refusal(asked({"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}, TEXT]}))
    assert "https URL" in refused.message
    assert refused.param == "messages[0].content[0].image_url"


USER = {"role": "user", "content": [PICTURE, TEXT]}


@pytest.mark.parametrize(
    ("messages", "fields", "param", "said"),
    [
        ([], {"n": 9}, "n", "<= 8"), ([], {"temperature": 3}, "temperature", "<= 2"),
        ([], {"tools": [{"type": "function"}]}, "tools[0]", "function"),
        ([], {"logprobs": True}, "logprobs", "logprobs cannot be honoured"),
        ([], {"virc_strategy": "./mine.py"}, "virc_strategy", "must be majority"),
        ([], {"virc_strategy": "majority:n=9"}, "virc_strategy", "draws 9 answers, over 8"),
        ([], {"max_token": 5}, "max_token", "did you mean 'max_tokens'?"),
        ([USER, {"role": "assistant", "content": "It"}], {}, "messages", "must be of role user or tool"),
        ([{"role": "user", "content": [PICTURE] * 3}], {}, "messages", "at most 2 images"),
        ([{"role": "system", "content": [PICTURE]}, USER], {}, "messages[0]", "only a message of role user"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_by_name(
    messages: list[Any], fields: dict[str, Any], param: str, said: str
) -> None:
    refused = refusal(asked(*messages, **fields))
    assert (refused.status, refused.param) == (400, param)
    assert said in refused.message


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
NAMES = st.sampled_from(
    "messages model n temperature stream_options top_p seed max_tokens stop response_format tools tool_choice".split()
)


@pytest.mark.integration
@given(st.dictionaries(NAMES, ANYTHING), st.lists(ANYTHING, max_size=3), st.text(max_size=40))
def test_any_body_is_taken_or_refused(fields: dict[str, Any], messages: list[Any], url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    bodies = (asked(**fields), asked(*messages), asked({"role": "user", "content": [part, TEXT]}))
    for body in bodies:
        with suppress(RefusedError):
            _, pictures = taken(body)
            assert len(pictures) <= 2
            assert all(each[:5].lower() in ("data:", "https") for each in pictures)
        with suppress(RefusedError):
            assert len(chat_request.read_chat_request(body, 2, 1000).pictures) <= 2
