"""Turns in every form of a grammar: what each is read as, and how written, and why another is refused."""

import json
from typing import Any

import pytest
from support.tables import each_case

from virc.reasoning.bodies import Called
from virc.reasoning.grammar import CallForm, Grammar
from virc.reasoning.messages import FormatError, ToolText, Turn, parse
from virc.reasoning.writing import assembled, written


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
OPEN = Grammar(think=None, calls=(CallForm("Action:", ""),), answer=("Answer:", ""))
ARGUMENTS = form("arguments", tool="crop", keys={"b": "bbox_2d", "why": None}, given={"image_index": "last"})
FIXED = form("arguments", tool="crop", given={"image_index": 0, "mode": "last"})
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


@each_case(
    ("grammar", "text", "kind", "why"),
    [
        (Grammar(), "97", "tags", "the tags are not one think and one tool_call or answer, but none"),
        (
            Grammar(),
            marked(call(), call()),
            "tags",
            "the tags are not one think and one tool_call or answer, but <think> </think>"
            " <tool_call> </tool_call> <tool_call> </tool_call>",
        ),
        (TWO, marked(call(), call(), call()), "tags", "the reply calls more than 2 tools"),
        (BARE, f"<think>so</think> {call()} and so", "tags", "the reply continues after its tool call"),
        (OPEN, f"Action: {call()} Answer: 5", "tags", "the tags are not one Action: or Answer:, but Action: Answer:"),
        (OBJECTS, "<x>[{}, {}, {}]</x>", "tags", "the list of objects is 3 calls, and a reply may have 2"),
        (OBJECTS, "<x>[{}, {}]</x><x>[{}]</x>", "tags", "the reply calls more than 2 tools"),
        (OBJECTS, "<x>[]</x>", "json", "the tool call is not a JSON list of objects"),
        (OBJECTS, "<x>{}</x>", "json", "the tool call is not a JSON list of objects"),
        (LIST, "<x>{}</x>", "json", "the tool call is not a JSON list"),
        (ARGUMENTS, '<x>{"image_index": 1}</x>', "json", "the tool call repeats image_index, or nobody writes it"),
        (FUNCTION, "zoom(0)", "json", "the values of the call are not image and factor"),
        (FUNCTION, "zoom(0, 2) and so", "json",
            "the call continues after its closing bracket with something other than `=`"),
        (ACTIONS, '{"actions": [1, 2, 3]}', "json", "there are 3 actions, not 1 to 2"),
        (ACTIONS, f'{{"actions": [{call("End", a=1, b=2)}]}}', "json", "End has not exactly one argument, the answer"),
        (ACTIONS, f'{{"actions": [{call()}, {call("End", a="4")}], "x": 1}}', "json",
            "the reply is not an object of a thought and a list of actions"),
        (ACTIONS, '{"thought": 3, "actions": [1]}', "json",
            "the reply is not an object of a thought and a list of actions"),
        (STEP, '{"action_name": "a"}', "json", "the reply is not an object with thought, action_name and action"),
        (STEP, '{"action": {}}', "json", "the reply is not an object with thought, action_name and action"),
        (LIST, f"<x>[{'9' * 19}]</x>", "json", "the tool call holds a number of 19 digits"),
        (LIST, "<x>[1e999]</x>", "json", "the tool call holds a number that is too large"),
        (LIST, "<x>[NaN]</x>", "json", "the tool call contains NaN, which is not valid JSON"),
        (LIST, "<x>[1,]</x>", "json", "the tool call is not JSON: "),
        (LIST, f"<x>{'[' * 100_000}</x>", "json", "the tool call is nested too deeply"),
    ],
)  # fmt: skip
def test_why_a_turn_is_refused(grammar: Grammar, text: str, kind: str, why: str | None) -> None:
    with pytest.raises(FormatError) as raised:
        parse(text, grammar)
    assert raised.value.kind == kind
    assert why is None or str(raised.value) == why or (why.endswith(": ") and str(raised.value).startswith(why))


UNMARKED = Grammar(think=None)
MADE = '<tool_call>\n{"name": "é", "arguments": {"x": 1}}\n</tool_call>'


@each_case(
    ("text", "thought", "calls", "grammar", "whole"),
    [
        ("four", "I look.", (), Grammar(), "<think>I look.</think>\nfour"),
        (" four", "I look.", (), Grammar(), "<think>I look.</think> four"),
        ("", "I look.", (), Grammar(), "<think>I look.</think>"),
        ("<think>so</think>four", "I look.", (), Grammar(), "<think>so</think>four"),
        ("four", None, (), Grammar(), "four"), ("four", "I look.", (), UNMARKED, "four"),
        ("<think>so</think> \nfour", None, (), UNMARKED, "four"), ("so</think> four", None, (), UNMARKED, "four"),
        ("a <think>so</think> four", None, (), UNMARKED, "a <think>so</think> four"),
        ("<think>so four", None, (), UNMARKED, "<think>so four"), ("", None, (Called("é", {"x": 1}),), Grammar(), MADE),
        ("four", None, (Called("é", '{"x": 1}'),), Grammar(), f"four\n{MADE}"),
        ("four\n", None, (Called("é", {"x": 1}),) * 2, LIST, f"four\n{MADE}\n{MADE}"),
        ("", None, (Called("é", {"x": 1}),), Grammar(calls=(*LIST.calls, *FORMS)), MADE.replace("tool_call", "a")),
    ],
)  # fmt: skip
def test_a_reply_is_put_together_as_its_model_wrote_it(
    text: str, thought: str | None, calls: tuple[Called, ...], grammar: Grammar, whole: str
) -> None:
    assert assembled(text, thought, calls, grammar) == whole
