"""The Responses API of an agent endpoint, as the official client reads it (`openai("model")` of the AI SDK uses it)."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from agent_server import ANSWER, LOOK, MODEL, Running, data_url, scripted
from openai.types.responses import Response
from support.faults import status
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


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Running]:
    with scripted(turns) as found:
        yield found


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
    asked(),
    asked(text=FORMAT),
    asked(tools=[TOOL], tool_choice="required"),
    asked(tools=[TOOL], tool_choice={"type": "function", "name": "Measure"}),
    asked("no answer"),
    asked(max_output_tokens=1),
    {"model": MODEL, "input": "Title"},
]


@pytest.mark.parametrize("body", CASES)
def test_a_stream_ends_with_the_whole_response(running: Running, client: Any, body: dict[str, Any]) -> None:
    status, said = running.send("POST", "/v1/responses", json.dumps(body).encode())
    assert status == 200, said
    Response.model_validate(said)  # every typed field fits
    with client.stream(**body) as stream:
        events = list(stream)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert same(events[-1].response.to_dict()) == same(said)
    kinds = [event.type for event in events]
    assert (kinds[0], kinds[-1]) == ("response.created", f"response.{said['status']}")
    for event in events:  # clients require the field of a text, and know none of a refusal
        if event.type.startswith(("response.output_text", "response.refusal")):
            assert event.to_dict().get("logprobs") == ([] if "output_text" in event.type else None)
        if event.type == "response.content_part.added":  # its text comes in the deltas
            assert "" in (event.part.to_dict().get("text"), event.part.to_dict().get("refusal"))
    assert kinds.count("response.output_item.added") == kinds.count("response.output_item.done") == len(said["output"])


def test_a_response_has_the_thoughts_the_answer_and_the_tool_calls(client: Any) -> None:
    said = client.create(**asked())
    thought, message = said.output
    assert [part.text for part in thought.summary] == ["I look.\n\nIt reads 97."]
    assert (said.status, said.output_text) == ("completed", "97")
    (call,) = message.virc_tool_calls
    assert (call["tool"], call["box"]) == ("crop_image", [0, 0, 100, 60])
    assert said.usage.total_tokens == said.usage.input_tokens + said.usage.output_tokens > 0


def test_thoughts_are_streamed_as_paragraphs_of_one_part(client: Any) -> None:
    events = list(client.create(**asked(stream=True)))
    deltas = [event.delta for event in events if event.type == "response.reasoning_summary_text.delta"]
    assert deltas == ["I look.", "\n\nIt reads 97."]
    kinds = [event.type.removeprefix("response.reasoning_summary_") for event in events]
    assert kinds[2:7] == ["part.added", "text.delta", "text.delta", "text.done", "part.done"]


def test_a_format_and_a_forced_tool_hold_the_answer(client: Any) -> None:
    assert json.loads(client.create(**asked(text=FORMAT)).output_text) == {"value": 97}
    call = client.create(**asked(tools=[TOOL], tool_choice="required")).output[-1]
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "Measure", {"value": 97})


def test_without_an_answer_the_content_is_a_refusal(client: Any) -> None:
    (part,) = client.create(**asked("no answer")).output[-1].content
    assert (part.type, part.refusal) == ("refusal", "the model answered 'unreadable'")


def test_an_answer_that_is_cut_is_incomplete(client: Any) -> None:
    said = client.create(**asked(max_output_tokens=1))
    assert (said.status, said.incomplete_details.reason, said.output_text) == ("incomplete", "max_output_tokens", "9")


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


def test_parameters_without_effect_are_named_here_too(client: Any) -> None:
    body = asked(store=True, reasoning={"effort": "low"}, text={"verbosity": "low"}, include=[], truncation="auto")
    headers = client.with_raw_response.create(**body).headers
    assert headers["x-virc-ignored-parameters"] == "reasoning_effort, store, verbosity"


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", "keeps no responses"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]", "send them whole"),
        ({"input": [{"type": "computer_call"}]}, "input[0]", "'computer_call' are not taken"),
        ({"tools": [{"type": "web_search"}]}, "tools", "'web_search' cannot be honoured"),
        ({"text": {"a": "x" * 2**17}}, "text", "text: the value is over 131072 bytes"),
        ({"background": True}, "background", "background cannot be honoured"),
        ({"input": 3}, "input", "no request for a response"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, None, "input_file"),
        ({"mxyzptlk": 1}, "mxyzptlk", "unknown parameter"),
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


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"input": [3]}', b'{"input": "x", "tools": [3]}', b"{" * 2**19])
def test_a_body_that_is_no_request_is_refused(running: Running, body: bytes) -> None:
    status, found = running.send("POST", "/v1/responses", body)
    assert (status, found["error"]["type"]) == (400, "invalid_request_error")


def test_a_failure_on_the_way_is_an_error_event() -> None:
    def turn(body: Body) -> str:
        running.behind._faults_left = 1
        return LOOK

    with scripted(turn, upstream={"fault": status(500), "times": 0}) as running:
        client = openai.OpenAI(base_url=running.url, api_key="none", max_retries=0).responses
        *_, last = client.create(**asked(), stream=True)
    assert (last.type, last.message) == ("error", "the model did not answer")
