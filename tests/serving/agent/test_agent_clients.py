"""What real clients send to an agent endpoint, recorded from them, and what strict ones make of its answers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from agent_server import ANSWER, LOOK, Running, data_url, scripted
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response
from support.servers import Body, turn_of

RECORDED = (Path(__file__).parent / "client_requests.jsonl").read_text("utf-8").splitlines()
CASES: list[dict[str, Any]] = [json.loads(line.replace("IMAGE", data_url())) for line in RECORDED]
CHATS = [case for case in CASES if "path" not in case]
RESPONSES = [case for case in CASES if "path" in case]


def turns(body: Body) -> str:
    if "response_format" in body:
        return '{"degrees": 97}'
    return [LOOK, ANSWER][turn_of(body)]


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with scripted(turns) as found:
        yield found


@pytest.fixture(scope="module")
def client(running: Running) -> Any:
    return openai.OpenAI(base_url=running.url, api_key="none", max_retries=0).chat.completions


def name(case: dict[str, Any]) -> str:
    return f"{case['client'].split()[0]}-{case['answer']}"


def answered(message: dict[str, Any]) -> tuple[str, Any]:
    if message.get("tool_calls"):
        (call,) = message["tool_calls"]
        return "call", only(call["function"]["arguments"])
    return read(message["content"])


def read(content: str) -> tuple[str, Any]:
    return ("json", only(content)) if content.startswith("{") else ("text", content)


def only(text: str) -> str:
    """The value of the one property, which is a number or a text as the client's schema has it."""
    (value,) = json.loads(text).values()
    return str(value)


@pytest.mark.parametrize("case", CHATS, ids=name)
def test_a_recorded_request_is_answered_as_its_client_reads_it(
    running: Running, client: Any, case: dict[str, Any]
) -> None:
    body = {**case["body"], "stream": False}
    body.pop("stream_options", None)
    status, said = running.send("POST", "/v1/chat/completions", json.dumps(body).encode())
    assert status == 200, said
    completion = ChatCompletion.model_validate(said)  # as pydantic-ai and LiteLLM do: every typed field must fit
    message = completion.choices[0].message
    assert answered(message.to_dict()) == (case["answer"], "97")
    assert completion.choices[0].finish_reason == ("tool_calls" if case["answer"] == "call" else "stop")
    assert len(said["choices"][0]["message"]["virc_tool_calls"]) == 1
    streamed: dict[str, Any] = {"content": ""}
    raw = client.with_raw_response.create(**{**rest(case["body"]), "stream": True})
    assert case.get("ignored", "") in raw.headers.get("X-Virc-Ignored-Parameters", "")
    for chunk in raw.parse():
        ChatCompletionChunk.model_validate(chunk.to_dict())
        for choice in chunk.choices:
            streamed["content"] += choice.delta.content or ""
            streamed |= {"tool_calls": choice.delta.to_dict()["tool_calls"]} if choice.delta.tool_calls else {}
    assert answered(streamed) == (case["answer"], "97")


@pytest.mark.parametrize("case", RESPONSES, ids=name)
def test_a_recorded_request_for_a_response_is_answered(running: Running, case: dict[str, Any]) -> None:
    status, said = running.send("POST", case["path"], json.dumps({**case["body"], "stream": False}).encode())
    assert status == 200, said
    assert read(Response.model_validate(said).output_text) == (case["answer"], "97")


def rest(body: dict[str, Any]) -> dict[str, Any]:
    """A body as arguments of the official client, which takes some parameters only beside its own."""
    extra = {name: value for name, value in body.items() if name == "chat_template_kwargs"}
    return {name: value for name, value in body.items() if name not in extra} | {"extra_body": extra}
