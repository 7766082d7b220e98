"""A tool of the user's own that fails: where a session is told so, an error of the call; else the command ends."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
from PIL import Image
from support.tables import each_case

from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.calls import ToolError
from virc.reasoning.protocol import FILE_NAME
from virc.reasoning.session import Ask, Rejected, Reply, Session

SCHEMA = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
CALL = '<think>I look.</think>\n<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call>'


def fails(call: object, source: object) -> Any:
    raise OSError("the camera is gone")


def refuses(call: object, source: object) -> Any:
    raise ToolError("there is nothing to see")


def session(errors: str, apply: Any = fails, told: Callable[[str], None] | None = None) -> Session:
    tool: Any = SimpleNamespace(NAME="look", SCHEMA=SCHEMA, TEMPLATE="after_image", apply=apply, __name__="look")
    protocol = msgspec.structs.replace(
        read_protocol(EMBEDDED_FOLDER / FILE_NAME), tools=("look",), errors=errors, after_error="Error: {error}"
    )
    return Session(protocol, "What?", [Image.new("RGB", (84, 84))], tools={"look": tool}, on_tool_failure=told)


@each_case(
    ("apply", "sentence"),
    [(fails, "OSError: the camera is gone"), (lambda call, source: 3, "the tool look returns int, and not an image")],
)
@each_case("errors", ["redraw", "show"])
def test_the_model_is_shown_that_a_tool_failed(errors: str, apply: Any, sentence: str) -> None:
    told = list[str]()
    held = session(errors, apply, told.append)
    unit = held.feed(Reply(CALL))
    assert not isinstance(unit, Rejected)
    assert [(each.call, each.error, each.failed) for each in unit.results] == [(None, "the tool failed", True)]
    assert [sentence in each for each in told] == [True]
    asked = held.next()
    assert isinstance(asked, Ask)
    assert asked.messages[-1].text == "Error: the tool failed"


def test_a_call_that_the_tool_refuses_is_the_fault_of_the_model() -> None:
    told = list[str]()
    unit = session("show", refuses, told.append).feed(Reply(CALL))
    assert not isinstance(unit, Rejected)
    assert [(each.error, each.failed) for each in unit.results] == [("there is nothing to see", False)]
    assert not told
