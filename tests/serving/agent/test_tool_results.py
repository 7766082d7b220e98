"""Pictures in the results of clients' tools reach the model, in each API and form; other parts are refused by name."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from agent_server import ANSWER, MODEL, Running, png, scripted
from support.servers import images_of
from support.tables import each_case

DATA = base64.b64encode(png(56, 84, "red")).decode()
URL = f"data:image/png;base64,{DATA}"
PICTURE = {"type": "image_url", "image_url": {"url": URL}}
MCP = {"type": "image", "data": DATA, "mimeType": "image/png"}
ANTHROPIC = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}
RESOURCE = {"type": "resource", "resource": {"uri": "a:b", "mimeType": "image/png", "blob": DATA}}
INPUT = {"type": "input_image", "image_url": URL}
SCREENSHOT = {"type": "computer_screenshot", "image_url": URL}
RESULT = "Result of the tool: (image)"
TEXT = {"type": "text", "text": "the page"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Running]:
    with scripted(lambda _: ANSWER) as found:
        yield found


def chat_about(content: Any) -> dict[str, Any]:
    call = {"id": "c1", "type": "function", "function": {"name": "shoot", "arguments": "{}"}}
    return {
        "model": MODEL,
        "messages": [
            {"role": "user", "content": "What does the page read?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": content},
        ],
    }


def response_about(output: Any, kind: str = "function_call", **call: Any) -> dict[str, Any]:
    items = [
        {"role": "user", "content": "What does the page read?"},
        {"type": kind, "call_id": "c1", **(call or {"name": "shoot", "arguments": "{}"})},
        {"type": f"{kind}_output", "call_id": "c1", "output": output},
    ]
    return {"model": MODEL, "input": items}


@each_case(
    ("body", "text"),
    [
        (response_about([INPUT]), RESULT),
        (response_about([{"type": "input_text", "text": "the page"}, INPUT]), "Result of the tool: the page (image)"),
        (response_about({"content": [MCP, TEXT]}), "the page"),
        (response_about(json.dumps([MCP, TEXT])), "the page"),
        (response_about(URL), RESULT),
        (response_about(f"{URL}\n", "custom_tool_call", name="shoot", input="now"), RESULT),
        (chat_about(URL), RESULT),
        (response_about(SCREENSHOT, "computer_call", action={"type": "screenshot"}), RESULT),
        (response_about([INPUT], "custom_tool_call", name="shoot", input="now"), RESULT),
        (chat_about([TEXT, PICTURE]), "Result of the tool: the page (image)"),
        (chat_about([PICTURE]), RESULT),
        (chat_about([ANTHROPIC]), RESULT),
        (chat_about([MCP, TEXT]), "the page"),
        (chat_about([RESOURCE]), RESULT),
        (chat_about(json.dumps({"content": [TEXT, MCP], "isError": False})), "Result of the tool: the page (image)"),
        (chat_about(json.dumps(MCP)), RESULT),
        (
            chat_about(json.dumps([TEXT, {"type": "media", "data": DATA, "mediaType": "image/png"}])),
            "Result of the tool: the page (image)",
        ),
        (chat_about(json.dumps([{"type": "text", "text": URL}])), '[{\\"type\\": \\"text\\", \\"text\\": \\"'),
        (chat_about(json.dumps({"screenshot": URL})), '{\\"screenshot\\": \\"'),
        (chat_about(json.dumps({"image_base64": URL, "size": [56, 84]})), '\\", \\"size\\": [56, 84]}'),
        (chat_about(json.dumps({"png": URL}).replace("/", "\\/").replace("+", "\\u002B")), '{\\"png\\": \\"'),
        (chat_about(f"Screenshot: {URL}"), "Result of the tool: Screenshot: (image)"),
        (chat_about(f"![the page]({URL}) ends"), ") ends"),
        (chat_about([{"type": "text", "text": f"the page {URL}"}]), "Result of the tool: the page (image)"),
        (response_about(json.dumps([{"type": "text", "text": URL}])), '\\"text\\": \\"'),
        (response_about(json.dumps({"screenshot": URL})), '{\\"screenshot\\": \\"'),
        (response_about({"screenshot": URL}), '{\\"screenshot\\"'),
        (response_about([{"type": "input_text", "text": f"the page {URL}"}]), "the page (image)"),
        (response_about(f"Screenshot: {URL}"), "Result of the tool: Screenshot: (image)"),
        (chat_about(json.dumps([{"type": "image-data", "data": DATA, "mediaType": "image/png"}])), RESULT),
    ],
)
def test_a_picture_in_a_tools_result_is_shown_to_the_model(running: Running, body: dict[str, Any], text: str) -> None:
    running.behind.requests.clear()
    client = openai.OpenAI(base_url=running.url, api_key="none", max_retries=0)
    if "input" in body:
        assert client.responses.create(**body).output_text == "97"
    else:
        assert client.chat.completions.create(**body).choices[0].message.content == "97"
    (asked,) = running.behind.chats()
    assert [image["image_url"]["url"].startswith("data:image/") for image in images_of(asked)] == [True]
    said = json.dumps([part for message in asked["messages"] for part in _texts(message)])
    assert DATA[:40] not in said
    assert "shoot" in said or "computer_call" in said
    assert text in said


def _texts(message: dict[str, Any]) -> list[str]:
    content = message["content"]
    return [content] if isinstance(content, str) else [each["text"] for each in content if each["type"] == "text"]


@each_case(
    ("body", "place", "said"),
    [
        (response_about([INPUT, {"type": "input_audio", "data": "AA"}]), "messages[2].content[1]", "input_audio"),
        (chat_about([PICTURE, {"type": "input_audio", "input_audio": {}}]), "messages[2].content[1]", "input_audio"),
        (chat_about([{**MCP, "type": "audio"}]), "messages[2].content[0]", "audio"),
        (chat_about(json.dumps([MCP, {**MCP, "type": "audio"}])), "messages[2]", "audio"),
        (
            chat_about([{"type": "media", "data": "AA", "mediaType": "audio/wav"}]),
            "messages[2].content[0]",
            "audio/wav",
        ),
        (
            chat_about([{"type": "resource", "resource": {"blob": "AA", "mimeType": "application/pdf"}}]),
            "messages[2].content[0]",
            "application/pdf",
        ),
    ],
)
def test_a_part_that_no_model_is_shown_is_refused_by_name(
    running: Running, body: dict[str, Any], place: str, said: str
) -> None:
    path = "/v1/responses" if "input" in body else "/v1/chat/completions"
    status, answer = running.send("POST", path, json.dumps(body).encode())
    error = answer["error"]
    assert status == 400
    assert error["param"].startswith(place), error
    assert said in error["message"]


@each_case(
    "text",
    [
        '[{"type": "image", "src": "logo.svg"}]', '{"type": "image"}', "[1, 2]", '{"content": "a page"}', "[", "{}",
        '[{"name": "image_url"}]', '"image"', "a picture is data:image/png;base64,iVBORw0KGgo in HTML",
    ],
)  # fmt: skip
def test_json_without_a_picture_is_a_text(running: Running, text: str) -> None:
    running.behind.requests.clear()
    status, answer = running.send("POST", "/v1/chat/completions", json.dumps(chat_about(text)).encode())
    assert status == 200, answer
    assert text in str(running.behind.chats()[0]["messages"])
