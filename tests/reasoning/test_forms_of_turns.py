"""Turns in every form of a grammar: what each is read as, and how written, and why another is refused."""

import json
from typing import Any

from support.tables import each_case

from virc.reasoning.grammar import CallForm, Grammar
from virc.reasoning.messages import ToolText, Turn, parse
from virc.reasoning.writing import written


def call(name: str = "a", **arguments: Any) -> str:
    return json.dumps({"name": name, "arguments": arguments})


def tool(name: str = "a", **arguments: Any) -> ToolText:
    return ToolText(name, arguments)


def marked(*calls: str) -> str:
    return "<think>so</think>" + "".join(f"<tool_call>{each}</tool_call>" for each in calls)


def form(body: Any, open: str = "<x>", close: str = "</x>", most: int = 1, **fields: Any) -> Grammar:
    return Grammar(think=None, calls=(CallForm(open, close, body, **fields),), answer=None, most_calls=most)


TWO = Grammar(most_calls=2)
BARE = Grammar(calls=(CallForm(),))
ALONE = form("call", "", "")
HELD = form("call", keys={"parameters": "arguments", "b": "bbox_2d"})
OPEN = Grammar(think=None, calls=(CallForm("Action:", ""),), answer=("Answer:", ""))
OBJECTS = form("objects", most=2, tool="crop", keys={"b": "bbox_2d"})
MARKS = form("objects", most=2, tool="mark", unnamed=("marks",))
LIST, TEXT = form("list", tool="mark", unnamed=("points",)), form("text", tool="find", unnamed=("query",))
FUNCTION = form("function", "zoom(", "", tool="zoom", unnamed=("image", "factor"))
ACTIONS, STEP = form("actions", "", "", 2, names={"End": "Terminate"}), form("step", "", "")
LOOSE = Grammar(loose=True, answer=None)
QUOTED, STRAY = 'zoom([1, 2], "a, b")', "</answer><answer>4</answer>"
NUMBERED = 'I look. <x>{"b": [1], "why": "small"}</x>'
ONLY_READ = (QUOTED, STRAY, NUMBERED)
"""Of which the turn cannot be written: it would be read as another."""
FORMS = (CallForm("<a>", "</a>"), CallForm("<b>", "</b>"))


@each_case(
    ("grammar", "text", "turn"),
    [
        (TWO, marked(call(x=1), call("b")), Turn("so", (tool(x=1), tool("b")))),
        (BARE, f"<think>so</think> {call()} ```", Turn("so", (tool(),))),
        (ALONE, f"I look. {call(x={})}", Turn("I look.", (tool(x={}),))),
        (HELD, '<x>{"name": "a", "parameters": {"b": [1]}}</x>', Turn("", (tool(bbox_2d=[1]),))),
        (ALONE, " It is 4 {of 5}. ", Turn("", answer="It is 4 {of 5}.")),
        (OPEN, f"I look. Action: {call()}", Turn("I look.", (tool(),))),
        (OPEN, "So it is. Answer: 5 cm ", Turn("So it is.", answer="5 cm")),
        (OBJECTS, '<x>[{"b": [1]}, {"b": [2]}]</x>', Turn("", (tool("crop", bbox_2d=[1]), tool("crop", bbox_2d=[2])))),
        (MARKS, '<x>[{"image_index": 0, "at": 1}, {"image_index": 1, "at": 2}, {"image_index": 0, "at": 3}]</x>',
            Turn("",
                (tool("mark", image_index=0, marks=[{"at": 1}, {"at": 3}]),
                    tool("mark", image_index=1, marks=[{"at": 2}])))),
        (LIST, "<x>[[1, 2]]</x>", Turn("", (tool("mark", points=[[1, 2]]),))),
        (TEXT, "<x> a [cat </x>", Turn("", (tool("find", query="a [cat"),))),
        (FUNCTION, "zoom(0, 2)", Turn("", (tool("zoom", image=0, factor=2),))),
        (FUNCTION, "zoom(0, 2", Turn("", (tool("zoom", image=0, factor=2),))),
        (FUNCTION, "zoom(cat, on, the mat)", Turn("", (tool("zoom", image="cat", factor="on, the mat"),))),
        (FUNCTION, QUOTED, Turn("", (tool("zoom", image=[1, 2], factor="a, b"),))),
        (ACTIONS, f'{{"thought": " I look. ", "actions": [{call()}, {call("b")}]}}',
            Turn("I look.", (tool(), tool("b")))),
        (ACTIONS, f'{{"actions": [{call("End", it=" 4 ")}]}}', Turn("", answer="4")),
        (ACTIONS, f'{{"actions": [{call("End", it="4")}, {call()}]}}', Turn("", (tool("Terminate", it="4"), tool()))),
        (ACTIONS, f'{{"thought": "", "actions": [{call("End", it=[1, 2])}]}}', Turn("", answer="[1, 2]")),
        (LOOSE, "<think>a</think>b<think>c</think> d ", Turn("abc", answer="d")),
        (Grammar(loose=True), STRAY, Turn("</answer>", answer="4")),
        (Grammar(loose=True, calls=(CallForm(),)), f"<think>so</think> I look {call()}", Turn("so I look", (tool(),))),
        (Grammar(loose=True, most_calls=2, calls=FORMS), f"so<b>{call('b')}</b><a>{call()}</a>",
            Turn("so", (tool("b"), tool()))),
    ],
)  # fmt: skip
def test_a_turn_is_read_and_written(grammar: Grammar, text: str, turn: Turn) -> None:
    assert parse(text, grammar) == turn
    if text not in ONLY_READ:
        assert parse(written(turn, grammar), grammar) == turn
