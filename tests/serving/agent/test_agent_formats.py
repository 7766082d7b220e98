"""Answers of an agent endpoint as requests want them: bounded, as JSON, or as a call of the client's tool."""

import json
from typing import Any

import pytest
from agent_server import ANSWER, LOOK, Running
from support.servers import Body, turn_of
from support.tables import each_case

LONG = "<think>It reads so.</think><answer>the angle is 73 degrees</answer>"
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


def test_limits_of_values_are_checked_and_not_enforced_by_the_engine(running: Running) -> None:
    """In grammars of xgrammar 0.2.8 a limited text has no backslash, quote or newline, a limited number no exponent."""
    unit = {"type": "string", "minLength": 3, "maxLength": 9, "pattern": "^[a-z]+$"}
    schema = {
        "type": "object",
        "properties": {
            "pattern": {"type": "integer", "minimum": 1},
            "unit": unit,
            "value": {"type": "number", "minimum": 0, "exclusiveMaximum": 1e9},
        },
    }
    status, said = running.ask("What does it read?", **as_json(schema))
    assert (status, said["choices"][0]["message"]["content"]) == (200, RIGHT)
    sent = formatting(running)[0]["response_format"]["json_schema"]["schema"]
    assert sent["properties"] == {
        "pattern": {"type": "integer", "minimum": 1},
        "unit": {"type": "string"},
        "value": {"type": "number"},
    }
    schema["properties"]["unit"]["maxLength"] = 4
    assert "could not be written as JSON that fits" in choice(running, **as_json(schema))["message"]["refusal"]


@each_case(("further", "sent"), [
    ({}, True), ({"additionalProperties": {"type": "null"}}, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
    ({"additionalProperties": False}, {"anyOf": [{"type": "integer"}]}),
])  # fmt: skip
def test_patterns_of_names_are_checked_and_not_enforced_by_the_engine(
    running: Running, further: dict[str, Any], sent: Any
) -> None:
    """Grammars of xgrammar 0.2.8 take the pattern `^v` for the name `v` alone."""
    unit = {"properties": {"unit": {"type": "string"}, "note": {"type": "string"}}}
    schema = {"type": "object", **unit, "patternProperties": {"^v": {"type": "integer"}}, **further}
    status, said = running.ask("What does it read?", **as_json(schema))
    assert (status, said["choices"][0]["message"]["content"]) == (200, RIGHT)
    asked = formatting(running)[-1]["response_format"]["json_schema"]["schema"]
    assert asked == {"type": "object", **unit, "additionalProperties": sent}


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
