"""Answers of an agent endpoint as requests want them: bounded, as JSON, or as a call of the client's tool."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from agent_server import ANSWER, LOOK, MODEL, Running, scripted
from support import faults
from support.faults import Fault
from support.servers import Body, turn_of

from virc.serving.agent.finish import first_tokens, until

LONG = "<think>It reads so.</think><answer>the angle is 73 degrees</answer>"
DEGREES = {"type": "object", "properties": {"degrees": {"type": "integer"}}, "required": ["degrees"]}
TWO = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "unit": {"$ref": "#/$defs/unit"}},
    "required": ["value", "unit"],
    "$defs": {"unit": {"enum": ["degrees", "radians"]}},
}
RIGHT = '{"value": 97, "unit": "degrees"}'


def as_json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "angle", "schema": schema}}}


def tool(name: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": f"About {name}.", "parameters": schema}}


def turns(body: Body) -> str:
    """JSON where the request asks for it, by the script in the question; else a look and an answer."""
    question = json.dumps(body["messages"])
    if "in words" in question and "Write nothing else" in question:
        return RIGHT
    if schema := body.get("response_format", {}).get("json_schema", {}).get("schema"):
        if "Choose the function" in question:
            return '{"name": "Measure"}'
        if "never right" in question or ("at first wrong" in question and not body["temperature"]):
            return '{"value": "many"}'
        if "fenced" in question:
            return f"```json\n{json.dumps(json.loads(RIGHT), indent=2)}\n```"
        return RIGHT if schema != {"type": "object"} else "{}"
    return LONG if "long" in question else [LOOK, ANSWER][turn_of(body)]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Running]:
    with scripted(turns) as found:
        yield found


def choice(running: Running, text: str = "What does it read?", **fields: Any) -> dict[str, Any]:
    status, said = running.ask(text, **fields)
    assert status == 200, said
    found: dict[str, Any] = said["choices"][0]
    return found


def error(running: Running, **fields: Any) -> tuple[int, str, str]:
    status, said = running.ask(**fields)
    return status, said["error"]["param"], said["error"]["message"]


def formatting(running: Running) -> list[Body]:
    """The requests for JSON that the model got."""
    return [body for body in running.behind.chats() if "response_format" in body]


@pytest.mark.parametrize(
    ("fields", "content", "finish"),
    [
        ({"max_tokens": 1}, "the", "length"),
        ({"max_completion_tokens": 4}, "the angle is 7", "length"),
        ({"max_tokens": 16}, "the angle is 73 degrees", "stop"),
        ({"stop": " is"}, "the angle", "stop"),
        ({"stop": ["degrees", "73"]}, "the angle is ", "stop"),
        ({"stop": ["never"], "max_tokens": 2}, "the angle", "length"),
    ],
)
def test_limits_hold_for_the_answer_and_not_for_turns(
    running: Running, fields: dict[str, Any], content: str, finish: str
) -> None:
    found = choice(running, "long", **fields)
    assert (found["message"]["content"], found["finish_reason"]) == (content, finish)
    assert "refusal" not in found["message"]
    (asked,) = running.behind.chats()
    assert asked["max_tokens"] == 1024
    assert "never" not in str(asked.get("stop"))


def test_turns_have_a_limit_of_their_own(running: Running) -> None:
    choice(running, virc_max_turn_tokens=77)
    assert {body["max_tokens"] for body in running.behind.chats()} == {77}


def test_an_answer_that_fits_the_schema_costs_no_turn(running: Running) -> None:
    found = choice(running, **as_json(DEGREES))
    assert json.loads(found["message"]["content"]) == {"degrees": 97}
    assert formatting(running) == []


@pytest.mark.parametrize("question", ["What does it read?", "fenced", "at first wrong"])
def test_a_last_turn_writes_the_answer_into_the_schema(running: Running, question: str) -> None:
    _, plain = running.ask(question)
    running.behind.requests.clear()
    status, said = running.ask(question, **as_json(TWO))
    assert (status, said["choices"][0]["message"]["content"]) == (200, RIGHT)
    asked = formatting(running)
    assert len(asked) == (2 if "wrong" in question else 1)
    assert asked[0]["response_format"]["json_schema"]["schema"] == TWO
    (message,) = asked[0]["messages"]
    assert f"Question:\n{question}\n\nReasoning:\nI look.\n\nIt reads 97.\n\nAnswer:\n97" in message["content"]
    assert said["usage"]["completion_tokens"] > plain["usage"]["completion_tokens"]


def test_json_that_never_fits_is_a_refusal(running: Running) -> None:
    found = choice(running, "never right", **as_json(TWO))
    assert found["message"]["content"] == ""
    assert "'97' could not be written as JSON that fits the schema" in found["message"]["refusal"]
    temperatures = [body["temperature"] for body in formatting(running)]
    assert temperatures == sorted(temperatures)
    assert len(set(temperatures)) == 4
    assert len({body["seed"] for body in formatting(running)}) == 4


def test_any_object_holds_the_answer(running: Running) -> None:
    found = choice(running, response_format={"type": "json_object"})
    assert json.loads(found["message"]["content"]) == {"answer": "97"}  # the model wrote {}, which loses it
    assert formatting(running)[0]["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_a_chat_of_text_alone_is_formatted_too(running: Running) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "long"}], "max_tokens": 20, **as_json(TWO)}
    status, said = running.send("POST", "/v1/chat/completions", json.dumps(body).encode())
    assert (status, said["choices"][0]["message"]["content"]) == (200, RIGHT)
    assert [each["max_tokens"] for each in running.behind.chats()] == [1024, 20]


@contextmanager
def failing_last(running: Running, fault: Fault, times: int = 1) -> Iterator[None]:
    """What the model's server does to the first requests after the answer."""
    script, before = running.behind.script, running.behind._faults_left

    def turn(body: Body) -> str:
        text = turns(body)
        running.behind._faults_left = times * (text == ANSWER)
        return text

    running.behind._faults_left, script.fault, script.turns = 0, fault, turn
    try:
        yield
    finally:
        running.behind._faults_left, script.fault, script.turns = before, None, turns


def test_a_limit_may_cut_the_json_and_says_so(running: Running) -> None:
    with failing_last(running, lambda exchange: exchange.send_events('{"value": 9', None, "length")):
        found = choice(running, max_tokens=5, **as_json(TWO))
    assert (found["message"]["content"], found["finish_reason"]) == ('{"value": 9', "length")
    with failing_last(running, lambda exchange: exchange.send_events("<tool_call>crop", None, "length")):
        found = choice(running, max_tokens=5, **as_json(TWO))
    assert (found["message"]["content"], found["finish_reason"]) == ("", "length")


@pytest.mark.parametrize(
    "refusal",
    [
        faults.status(400, "The provided JSON schema contains features not supported by xgrammar."),
        faults.body(b'{"error": {"message": "failed to parse grammar", "type": "server_error"}}'),
    ],
    ids=["refuses", "fails"],
)
def test_an_engine_that_takes_no_such_schema_is_asked_without_it(running: Running, refusal: Fault) -> None:
    with failing_last(running, refusal):
        found = choice(running, "in words", **as_json(TWO))
    assert found["message"]["content"] == RIGHT
    assert len(formatting(running)) == 1


def test_an_engine_that_fails_with_and_without_a_schema_is_no_refusal_of_the_model(running: Running) -> None:
    with failing_last(running, faults.status(400), times=9):
        status, said = running.ask("in words", **as_json(TWO))
    assert (status >= 500, said["error"]["message"]) == (True, "the model did not answer")


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "triangle"}, "this is no JSON schema that can be used: 'triangle'"),
        ({"$ref": "#"}, "it refers to itself without an end"),
        ({"$ref": "http://127.0.0.1:9/schema"}, "refers to what is not in it"),
        ({"$ref": "#/$defs/none"}, "refers to what is not in it"),
        ({"properties": {"a": {"description": "x" * 2**15}}}, "over 32768 bytes"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(running: Running, schema: dict[str, Any], said: str) -> None:
    status, param, message = error(running, **as_json(schema))
    assert (status, param) == (400, "response_format")
    assert said in message


def test_patterns_hold_for_an_answer_and_its_names(running: Running) -> None:
    for value, names, content in (("^9", "^a$", '{"a": "97"}'), ("^8", "^a$", ""), ("^9", "^b$", "")):
        part = {"type": "string", "pattern": value}
        schema = {"type": "object", "properties": {"a": part}, "propertyNames": {"pattern": names}}
        assert choice(running, **as_json({**schema, "required": ["a"]}))["message"]["content"] == content


def test_a_schema_may_refer_to_itself_for_the_parts_of_a_value(running: Running) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"$ref": "#"}}
    found = choice(running, **as_json({**schema, "required": ["a"]}))
    assert found["message"]["content"] == '{"a": "97"}'


@pytest.mark.parametrize("choose", [None, "auto", "none"])
def test_where_it_may_answer_the_clients_tools_are_not_called(running: Running, choose: str | None) -> None:
    found = choice(running, tools=[tool("Measure", TWO)], tool_choice=choose)
    assert (found["message"]["content"], found["finish_reason"]) == ("97", "stop")
    assert "tool_calls" not in found["message"]
    assert len(running.behind.chats()) == 2


@pytest.mark.parametrize("choose", ["required", {"type": "function", "function": {"name": "Measure"}}])
def test_a_forced_tool_is_called_with_the_answer(running: Running, choose: Any) -> None:
    found = choice(running, tools=[tool("Other"), tool("Measure", TWO)], tool_choice=choose)
    (call,) = found["message"]["tool_calls"]
    assert (call["type"], call["function"]) == ("function", {"name": "Measure", "arguments": RIGHT})
    assert (found["message"]["content"], found["finish_reason"]) == (None, "tool_calls")
    chosen = [body for body in formatting(running) if "Choose the function" in json.dumps(body)]
    assert len(chosen) == (1 if choose == "required" else 0)
    assert len(formatting(running)) == 1 + len(chosen)
    assert "About Measure." in json.dumps(formatting(running)[-1])


def test_without_an_answer_a_forced_tool_is_not_called(running: Running) -> None:
    found = choice(running, "never right", tools=[tool("Measure", TWO)], tool_choice="required")
    assert "tool_calls" not in found["message"]
    assert found["message"]["refusal"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [tool("a")], "tool_choice": {"type": "function", "function": {"name": "b"}}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [{"type": "custom"}]}, "tools[0].type"),
        ({"tools": [tool("a", {"type": 3})], "tool_choice": "required"}, "tools"),
        ({"logprobs": True}, "logprobs"),
        ({"stop": [""]}, "stop[0]"),
    ],
)
def test_tools_and_parameters_that_make_no_sense_are_refused(
    running: Running, fields: dict[str, Any], param: str
) -> None:
    status, found, _ = error(running, **fields)
    assert (status, found) == (400, param)


def test_texts_are_cut_at_tokens_and_stops() -> None:
    assert first_tokens("73°", 1) == "7"
    assert first_tokens("73°", 3) == first_tokens("73°", None) == "73°"
    assert first_tokens("parallelogram ABCD", 2) == "parallelog"
    assert until("a\n\nb", ["\n\n", "a"]) == ""
    assert until("ab", []) == "ab"
