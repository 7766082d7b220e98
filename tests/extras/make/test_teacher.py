"""Teachers add columns, and rows whose replies fit nothing are left out by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from asking_rows import made, rows_at, rules
from support.servers import Body, serve
from support.tables import each_case

from virc.rewards.rollout_scorer import maker_of

SCHEMA = {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}


class Replies:
    """Says these texts, one after the other."""

    def __init__(self, *texts: str) -> None:
        self._texts, self.bodies = iter(texts), list[Body]()

    def __call__(self, body: Body) -> str:
        self.bodies.append(body)
        return next(self._texts)


def step(**keys: Any) -> dict[str, Any]:
    return {"prompt": "Q: {question}", "tries": 2, **keys}


TAKEN: list[tuple[dict[str, Any], list[str], Any]] = [
    ({}, [" A circle.\n"], "A circle."), ({"schema": SCHEMA}, ['```json\n{"count": 2}\n```'], {"count": 2}),
    ({"schema": SCHEMA}, ["two", '{"count": 2}'], {"count": 2}),
    ({"pattern": r"<c>((?s:.*))</c>\s*"}, ["<c>red\nblue</c>\n"], "red\nblue"),
    ({"right": True}, ["It is 98.", "So the answer is 97."], "So the answer is 97."),
    ({"right": True, "thought": True}, ["<think>first 98</think>\n97"], "<think>first 98</think>\n97"),
    ({"like": "draft", "words": 1}, ["a red one is here", "the big square is here"], "the big square is here"),
    ({"reward": "thinklite-vl", "thought": True}, [r"\boxed{97}", r"<think>a</think>\boxed{97}"],
        r"<think>a</think>\boxed{97}"),
]  # fmt: skip
"""A step, replies, and the value of the column."""


def run(step: dict[str, Any], replies: Replies, folder: Path) -> list[dict[str, Any]]:
    def rewards(system: str) -> Any:
        return maker_of(system, None, None, {})

    rows, options = rows_at(folder, draft="the red square is here"), {"steps": {"said": step}}
    with serve(replies) as server:
        return made("teacher", rows, server.url, options, roles={"said": server.url}, rewards=rewards)


@each_case(("keys", "replies", "value"), TAKEN)
def test_the_first_reply_that_fits_becomes_the_column(
    keys: dict[str, Any], replies: list[str], value: object, tmp_path: Path
) -> None:
    server = Replies(*replies)
    (row,) = run(step(**keys), server, tmp_path)
    assert row["said"] == value
    assert len(server.bodies) == len(replies)


def said(texts: dict[str, str]) -> Callable[[Body], str]:
    """A server that knows its step by a piece of the prompt."""

    def reply(body: Body) -> str:
        content = body["messages"][-1]["content"]
        prompt = content if isinstance(content, str) else content[-1]["text"]
        return next(text for piece, text in texts.items() if piece in prompt)

    return reply


PRESETS: list[tuple[str, dict[str, str], dict[str, Any]]] = [
    ("vlaa-thinking",
        {"<think>The image shows 97.</think> 97": "Yes",
            "<think>The caption says 97.</think> 97": "<think>The image shows 97.</think> 97",
            "A circle with 97 in it.": "<think>The caption says 97.</think> 97", "": "A circle with 97 in it."},
        {"ds_answer": "<think>The image shows 97.</think> 97", "verdict": "Yes"}),
    ("pebr-r1", {"do not answer it": "A circle with 97.", "Description of the picture: A circle": '["circle", "97"]'},
        {"key_word": ["circle", "97"]}),
]  # fmt: skip
"""A system, what its teachers say by a piece of the prompt, and columns."""


@each_case(("system", "texts", "columns"), PRESETS)
def test_rows_of_a_system_are_made_as_its_steps_say(
    system: str, texts: dict[str, str], columns: dict[str, Any], tmp_path: Path
) -> None:
    rows = rows_at(tmp_path)
    with serve(said(texts)) as server:
        (row,) = made("teacher", rows, server.url, {"preset": system})
    assert {key: row[key] for key in columns} == columns
    assert rules(rows) == {}
