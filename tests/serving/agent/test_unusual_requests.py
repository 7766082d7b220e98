"""Requests in forms that few clients use: compressed bodies, and tools of kinds that this server does not call."""

import gzip
import http.client
import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from agent_server import ANSWER, Running, chat, scripted
from support.tables import each_case

from virc.serving.chat_request import MAX_BODY

BODY = json.dumps(chat()).encode()
FUNCTION = {"type": "function", "function": {"name": "Measure", "parameters": {"type": "object"}}}
FLAT = {"type": "function", "name": "Measure", "parameters": {"type": "object"}}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Running]:
    with scripted(lambda _: ANSWER) as found:
        yield found


def post(running: Running, body: bytes, path: str = "/v1/chat/completions", **headers: str) -> tuple[int, str, str]:
    """The status, the ignored parameters, and the body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
    try:
        connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.headers.get("X-Virc-Ignored-Parameters", ""), response.read().decode()
    finally:
        connection.close()


@each_case(
    ("path", "where"),
    [
        ("/v1/messages", "this serves /v1/chat/completions and /v1/responses"),
        ("/v1/messages/count_tokens", "this serves /v1/chat/completions"),
        ("/v1/v1/chat/completions", "this serves /v1/chat/completions"),
        ("/chat/completions", "the base URL of a client ends with /v1"),
        ("/api/chat", "the base URL of a client ends with /v1"),
    ],
)
def test_a_path_that_is_not_there_names_those_that_are(running: Running, path: str, where: str) -> None:
    status, _, said = post(running, BODY, path)
    assert (status, f"not found: {where}" in said) == (404, True), said


@each_case(
    ("body", "encoding", "status"),
    [
        (gzip.compress(BODY), "gzip", 200),
        (gzip.compress(BODY), "x-gzip", 200),
        (zlib.compress(BODY), "deflate", 200),
        (zlib.compress(gzip.compress(BODY)), "gzip, deflate", 200),
        (BODY, "identity", 200),
        (gzip.compress(BODY[:50]) + gzip.compress(BODY[50:]), "gzip", 200),
        (gzip.compress(BODY)[:-200], "gzip", 400),
        (gzip.compress(BODY)[:-4], "gzip", 400),
        (b"\x01\x02" * 40, "gzip", 415),
        (b"\x01\x02" * 40, "compress", 415),
        (gzip.compress(b" " * (MAX_BODY + 1), 1), "gzip", 413),
    ],
)
def test_a_compressed_body_is_read_within_the_limit(running: Running, body: bytes, encoding: str, status: int) -> None:
    found, _, said = post(running, body, Content_Encoding=encoding)
    assert (found, "the body is damaged: it is cut short" in said) == (status, status == 400), said


@each_case(
    ("tools", "ignored"),
    [
        ([{"type": "web_search"}], "tools.web_search"),
        ([{"type": "custom", "name": "apply_patch", "format": {"type": "grammar"}}], "tools.custom"),
        ([{"type": "namespace", "name": "mcp", "tools": [FLAT]}, {"type": "custom"}], "tools.namespace, tools.custom"),
        ([{"type": "local_shell"}, {"type": "local_shell"}], "tools.local_shell"),
        ([{"type": "mcp", "server_url": "https://a"}], "tools.mcp"),
        ([{"type": "computer_use_preview"}], "tools.computer_use_preview"),
        ([{"type": "a\nb"}], "tools.a?b"),
        ([], ""),
    ],
)
def test_a_tool_of_another_kind_is_ignored_and_said(running: Running, tools: list[Any], ignored: str) -> None:
    question = {"role": "user", "content": "What?"}
    as_response = {"model": chat()["model"], "input": [question], "tools": [*tools, FLAT], "tool_choice": "auto"}
    as_chat = chat(tools=[*tools, FUNCTION])
    for path, body in (("/v1/responses", as_response), ("/v1/chat/completions", as_chat)):
        status, header, said = post(running, json.dumps(body).encode(), path)
        assert (status, header) == (200, ignored), said


@each_case(
    "choice", ["required", {"type": "custom", "name": "apply_patch"}, {"type": "function", "function": {"name": "x"}}]
)
def test_a_call_of_another_kind_is_refused(running: Running, choice: Any) -> None:
    body = chat(tools=[{"type": "custom", "name": "apply_patch"}], tool_choice=choice)
    status, _, said = post(running, json.dumps(body).encode())
    assert (status, "tool_choice" in said) == (400, True)
