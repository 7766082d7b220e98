"""JSON schemas and patterns that would take years: they are refused, and others are answered meanwhile."""

import base64
import http.client
import json
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import host, servers
from support.loopback import free_port
from support.servers import Body
from support.solving import answer, call, picture

from virc.core.limits import bounded

Schema = dict[str, Any]


def nested(levels: int, level: Callable[[Schema], Schema]) -> Schema:
    schema: Schema = {}
    for _ in range(levels):
        schema = level(schema)
    return schema


def doubling(reference: Callable[[str], Schema], last: Schema) -> Schema:
    """Thirty definitions, each of which leads twice to the next."""
    levels = {f"d{n}": reference(f"#/$defs/d{n + 1}") for n in range(30)}
    return {"$ref": "#/$defs/d0", "$defs": {**levels, "d30": last}}


def cheap_enough(levels: int) -> Schema:
    """A schema whose cost doubles with each level."""
    return nested(levels, lambda each: {"allOf": [each], "unevaluatedProperties": False})


DRAFT7 = "http://json-schema.org/draft-07/schema#"
CATASTROPHIC = r"^(\w+\s?)*$"
LETTERS = "a" * 60 + "!"
FAMILIES: dict[str, tuple[Schema, Any]] = {
    "allOf in unevaluatedProperties": (cheap_enough(20), {}),
    "anyOf in unevaluatedItems": (nested(25, lambda each: {"anyOf": [each], "unevaluatedItems": False}), []),
    "if in unevaluatedProperties": (nested(25, lambda each: {"if": each, "unevaluatedProperties": False}), {}),
    "contains in unevaluatedItems": (
        nested(20, lambda each: {"allOf": [each], "contains": {}, "minContains": 0, "unevaluatedItems": False}), [],
    ),
    "allOf of $ref": (doubling(lambda ref: {"allOf": [{"$ref": ref}] * 2}, {}), {}),
    "oneOf of $ref": (doubling(lambda ref: {"oneOf": [{"$ref": ref}, {"not": {"$ref": ref}}]}, {}), {}),
    "dependentSchemas": (
        doubling(lambda ref: {"dependentSchemas": {"a": {"$ref": ref}, "b": {"$ref": ref}}}, {}), {"a": 1, "b": 1},
    ),
    "dependentSchemas in unevaluatedProperties": (
        {
            "unevaluatedProperties": False,
            **doubling(lambda ref: {"dependentSchemas": {"a": {"$ref": ref}, "b": {"$ref": ref}}}, {}),
        },
        {"a": 1, "b": 1},
    ),
    "another draft": (
        doubling(lambda ref: {"$schema": DRAFT7, "anyOf": [{"not": {"$ref": ref}}] * 2}, {}), {},
    ),
    "$dynamicRef": (
        {
            **doubling(lambda ref: {"allOf": [{"$dynamicRef": ref}] * 2}, {}),
            "$dynamicAnchor": "a",
        },
        {},
    ),
    "properties": (
        doubling(lambda ref: {"allOf": [{"properties": {"a": {"$ref": ref}}}] * 2}, {}),
        json.loads('{"a":' * 31 + "1" + "}" * 31),
    ),
    "uniqueItems": ({"uniqueItems": True}, [{"a": number} for number in range(9000)]),
    "enum": ({"items": {"enum": [[0] * 30 + [number] for number in range(300)]}}, [[0] * 30 + [299]] * 1900),
    "pattern": ({"properties": {"a": {"pattern": CATASTROPHIC}}}, {"a": LETTERS}),
    "patternProperties": ({"patternProperties": {CATASTROPHIC: {}}}, {LETTERS: 1}),
    "propertyNames": ({"propertyNames": {"pattern": "(.*)*x$"}}, {LETTERS: 1}),
    "backreference": ({"items": {"pattern": r"(?:(a*)\1)*$b"}}, ["a" * 60]),
}  # fmt: skip
TOOL = r'''
"""Nothing checks its arguments but its schema; a call writes into `begun`, and ends when `released` is there."""
import time
from pathlib import Path

NAME, TEMPLATE = "look", "after_image"
WORDS, IMAGE = {"type": "string", "pattern": r"^(\w+\s?)*$"}, {"type": "integer"}
SCHEMA = {"type": "function", "function": {"name": NAME, "description": "Look.", "parameters": {
    "type": "object", "properties": {"words": WORDS, "image_index": IMAGE}}}}

def apply(call, source):
    with Path(__file__).with_name("begun").open("a") as file:
        file.write("x")
    while not Path(__file__).with_name("released").exists():
        time.sleep(0.05)
    return "seen"
'''
REWARD = r"""
from virc.rewards.question import Question, field

TERMS = ("clear",)
clear = Question("{reply}\nHow clear?", field({"properties": {"why": {"pattern": r"^(\w+\s?)*$"}}}, "score"))

def total(t):
    return t.clear
"""
IN_DEFAULT_SUITE = ("allOf in unevaluatedProperties", "pattern")


def marked(name: str) -> Any:
    return pytest.param(name, marks=() if name in IN_DEFAULT_SUITE else pytest.mark.integration)


@contextmanager
def cpu_of_programs(most: float) -> Iterator[None]:
    """Fail where programs that end inside have taken more CPU time than so many seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    yield
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < most


@pytest.mark.parametrize("name", [marked(name) for name in FAMILIES])
def test_a_schema_without_an_end_is_ended(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "SECONDS", 0.1)
    schema, value = FAMILIES[name]
    assert len(json.dumps(schema)) < 2**15
    with cpu_of_programs(5):
        try:
            said = bounded.schema_fault(schema) or bounded.misfit(schema, value)
        except bounded.CostlyError as error:
            said = error.message
        finally:
            bounded.SCHEMAS.close()
    assert said == "it is too costly: one value takes over 0.1 s of CPU time, or too much memory"


class Endpoint:
    """A running `virc serve --agent`."""

    def __init__(self, port: int) -> None:
        self.port = port

    def send(self, method: str, path: str, body: Body | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=240)
        try:
            connection.request(method, path, json.dumps(body or {}))
            response = connection.getresponse()
            content = response.read()
            return response.status, json.loads(content) if content else None
        finally:
            connection.close()

    def ask(self, content: str | list[Body], schema: Schema | None = None, **more: object) -> tuple[int, Any]:
        body: Body = {"model": "m", "messages": [{"role": "user", "content": content}], **more}
        if schema is not None:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
        return self.send("POST", "/v1/chat/completions", body)


def repeat(body: Body) -> str:
    """The question is the answer."""
    content = body["messages"][-1]["content"]
    text = content if isinstance(content, str) else content[-1]["text"]
    return str(text.partition("Question:\n")[2].partition("\n\nAnswer:")[0] or text)


@contextmanager
def serving(home: host.Home, *words: object, turn: Callable[[Body], str] = repeat) -> Iterator[Endpoint]:
    """An endpoint in front of a scripted model."""
    port = free_port()
    with servers.serve(turn) as behind:
        process = home.start("serve", "--agent", "--endpoint", behind.url, "--name", "m", "--port", port, *words)
        try:
            assert process.stdout is not None
            assert process.stdout.readline().decode().strip() == f"http://127.0.0.1:{port}/v1"
            yield Endpoint(port)
        finally:
            process.kill()
            host.told(process)


@pytest.fixture(scope="module")
def endpoint(home: host.Home) -> Iterator[Endpoint]:
    with serving(home, "--concurrency", "4", "--timeout", "200") as found:
        yield found


@pytest.mark.integration
@pytest.mark.parametrize("name", FAMILIES)
def test_a_client_is_told_of_its_schema(endpoint: Endpoint, name: str) -> None:
    schema, value = FAMILIES[name]
    status, said = endpoint.ask(json.dumps(value), schema)
    assert (status, said["error"]["param"]) == (400, "response_format")
    assert "it is too costly: one value takes over 1 s of CPU time" in said["error"]["message"]


@pytest.mark.integration
def test_sixteen_such_schemas_leave_others_answered(endpoint: Endpoint) -> None:
    schema, value = FAMILIES["allOf in unevaluatedProperties"]
    assert len(json.dumps(schema)) < 1024
    with ThreadPoolExecutor(16) as attackers, ThreadPoolExecutor(1) as watcher:
        attacks = [attackers.submit(endpoint.ask, json.dumps(value), schema) for _ in range(16)]
        fit = {"type": "object", "properties": {"a": {"pattern": "^b$"}}}
        while not all(attack.done() for attack in attacks):
            watched = watcher.submit(endpoint.send, "GET", "/health")
            assert endpoint.ask("97")[0] == 200
            assert endpoint.ask('{"a": "b"}', fit)[1]["choices"][0]["message"]["content"] == '{"a": "b"}'
            assert watched.result()[0] == 200
    assert {attack.result()[0] for attack in attacks} == {400}
    assert endpoint.send("GET", "/health")[0] == 200


@pytest.mark.integration
def test_a_call_that_is_too_costly_is_drawn_again(home: host.Home, tmp_path: Path) -> None:
    """The pattern is in the schema of the user's own tool."""
    (tmp_path / "look.py").write_text(TOOL)
    (tmp_path / "released").touch()
    replies = [call("look", words=LETTERS), call("look", words="a b"), answer("7")]
    with servers.serve(lambda _: replies.pop(0)) as server, cpu_of_programs(20):
        words = ("--tools", f"+{tmp_path / 'look.py'}", "--endpoint", server.url)
        done = home.run("solve", picture(tmp_path / "a.png"), "?", *words)
    assert done.out == "7\n", done
    assert "it is too costly" in done.err
    assert "-> look image 0, words a b: seen" in done.err


@pytest.mark.integration
@pytest.mark.parametrize(("why", "value"), [("short", 1), (LETTERS, 0)])
def test_a_reply_of_a_judge_that_is_too_costly_is_worth_nothing(
    home: host.Home, tmp_path: Path, why: str, value: float
) -> None:
    (tmp_path / "asking.py").write_text(REWARD)
    (tmp_path / "asking.yaml").write_text("name: asking\nreward: {total: ./asking.py}\n")
    (tmp_path / "reply").write_text("<think>x</think><answer>7</answer>")
    drawn = home.run("data", "synth", "--to", tmp_path / "rows", "--count", "1", "--seed", "1", "--formats", "rl")
    assert drawn.code == 0, drawn
    words = ("--data", tmp_path / "rows", "--rows", "1", "--reply", tmp_path / "reply", "--json")
    with servers.serve(lambda _: json.dumps({"score": 1, "why": why})) as judge, cpu_of_programs(20):
        system = ("asking.yaml", "--judge-endpoint", judge.url)
        done = home.run("rewards", "try", tmp_path / system[0], *system[1:], *words, VIRC_CACHE=str(tmp_path))
    assert done.code == 0, done
    assert [row["terms"] for row in done.json["rows"]] == [{"clear": value}]


@pytest.mark.integration
def test_a_tool_without_an_end_costs_its_turn_until_it_ends(home: host.Home, tmp_path: Path) -> None:
    (tmp_path / "look.py").write_text(TOOL)
    (tmp_path / "looking.yaml").write_text("name: looking\ntools: [./look.py]\n")
    begun = tmp_path / "begun"
    url = f"data:image/png;base64,{base64.b64encode(picture(tmp_path / 'a.png').read_bytes()).decode()}"
    about = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "Look."}]

    def turn(body: Body) -> str:
        return call("look", words="a") if "Look." in json.dumps(body) and not servers.turn_of(body) else answer("7")

    words = ("--system", tmp_path / "looking.yaml", "--concurrency", 1, "--timeout", 3)
    with serving(home, *words, turn=turn) as endpoint:

        def looks() -> int:
            assert endpoint.ask(about)[0] == 504
            return len(begun.read_text()) if begun.exists() else 0

        assert becomes(1, looks)  # on a busy machine the time may be over before the tool is called
        assert endpoint.ask("?")[0] == 504
        (tmp_path / "released").touch()
        assert becomes(200, lambda: endpoint.ask("?")[0])


def becomes(status: int, ask: Callable[[], int]) -> bool:
    """Whether a status, or a number, comes within two minutes."""
    end = time.monotonic() + 120
    while (found := ask()) != status and time.monotonic() < end:
        time.sleep(0.5)
    return found == status
