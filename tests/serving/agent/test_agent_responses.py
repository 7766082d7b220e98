"""The Responses API of an agent endpoint, as the official client reads it (`openai("model")` of the AI SDK uses it)."""

import json
from typing import Any

import openai
import pytest
from agent_server import ANSWER, LOOK, MODEL, Running, data_url
from openai.types.responses import Response
from support.servers import Body, turn_of

QUESTION = {"type": "input_text", "text": "What does it read?"}
IMAGE = {"type": "input_image", "image_url": data_url(), "detail": "auto"}
SCHEMA = {"type": "object", "properties": {"value": {"type": "integer"}}, "required": ["value"]}
TOOL = {"type": "function", "name": "Measure", "parameters": SCHEMA, "strict": True}


def turns(body: Body) -> str:
    question = json.dumps(body["messages"])
    if "no answer" in question:
        return "<think>Too small.</think><answer>unreadable</answer>"
    return "A title" if "Title" in question else [LOOK, ANSWER][turn_of(body)]


@pytest.fixture
def client(running: Running) -> Any:
    return openai.OpenAI(base_url=running.url, api_key="none", max_retries=0).responses


def asked(question: str = "What does it read?", **fields: Any) -> dict[str, Any]:
    content = [{**QUESTION, "text": question}, IMAGE]
    return {"model": MODEL, "input": [{"role": "user", "content": content}], **fields}


def same(value: Any) -> Any:
    """A response without what differs each time."""
    if isinstance(value, list):
        return [same(each) for each in value]
    own = ("id", "call_id", "created_at", "parsed", "parsed_arguments")  # the last two are the client's
    return {k: same(v) for k, v in value.items() if k not in own} if isinstance(value, dict) else value


FORMAT = {"format": {"type": "json_schema", "name": "angle", "schema": SCHEMA, "strict": True}}
CASES = [
    (asked(), "completed", "97"),
    (asked(text=FORMAT), "completed", '{"value": 97}'),
    (asked(tools=[TOOL], tool_choice="required"), "completed", 'Measure {"value": 97}'),
    (asked("no answer"), "completed", "refused: the model answered 'unreadable'"),
    (asked(max_output_tokens=1), "incomplete", "9"),
    ({"model": MODEL, "input": "Title"}, "completed", "A title"),
]


def told(item: dict[str, Any]) -> str:
    """The last item of a response in words."""
    if item["type"] == "function_call":
        return f"{item['name']} {item['arguments']}"
    (part,) = item["content"]
    return f"refused: {part['refusal']}" if part["type"] == "refusal" else str(part["text"])


@pytest.mark.parametrize(("body", "state", "answer"), CASES)
def test_a_response_is_whole_and_its_stream_ends_with_it(
    running: Running, client: Any, body: dict[str, Any], state: str, answer: str
) -> None:
    status, said = running.send("POST", "/v1/responses", json.dumps(body).encode())
    assert status == 200, said
    Response.model_validate(said)  # every typed field fits
    assert (said["status"], told(said["output"][-1])) == (state, answer)
    with client.stream(**body) as stream:
        events = list(stream)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert same(events[-1].response.to_dict()) == same(said)


def test_what_was_answered_and_called_before_may_be_sent_back(running: Running, client: Any) -> None:
    first = client.create(**asked(tools=[TOOL], tool_choice="required"))
    items = [item.to_dict() for item in first.output]
    result = {"type": "function_call_output", "call_id": items[-1]["call_id"], "output": "noted"}
    plain = [item.to_dict() for item in client.create(**asked()).output]
    running.behind.requests.clear()
    again = [*asked()["input"], *items, result, *plain, {"role": "user", "content": "And now?"}]
    assert client.create(model=MODEL, input=again, instructions="Be brief.", store=False).output_text == "97"
    question = running.behind.chats()[0]["messages"][1]["content"][-1]["text"]
    told = 'Assistant: Called Measure({"value": 97})\n\nUser: Result of the tool: noted\n\nAssistant: 97\n\nAnd now?'
    assert told in question
    assert "Be brief.\n\nUser: What does it read?" in question


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", "keeps no responses"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]", "send them whole"),
        ({"text": {"a": "x" * 2**17}}, "text", "text: the value is over 131072 bytes"),
        ({"background": True}, "background", "background cannot be honoured"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, None, "not kept here"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, None, "send image_url"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, None, "missing required field image_url"),
        ({"model": "another"}, "model", "there is no model"),
    ],
)
def test_what_cannot_be_honoured_is_refused(
    running: Running, fields: dict[str, Any], param: str | None, said: str
) -> None:
    status, found = running.send("POST", "/v1/responses", json.dumps({**asked(), **fields}).encode())
    assert status in (400, 404)
    assert said in found["error"]["message"]
    assert param in (None, found["error"]["param"])
