"""How an answer is made what its request wants: what the model is asked for, and what is counted."""

from types import SimpleNamespace
from typing import Any

import pytest

from virc.backends.interface import Sampling
from virc.core.timeouts import Deadline
from virc.reasoning.session import Ask, Reply
from virc.reasoning.turns import PLACE
from virc.serving.agent.answer import Answer
from virc.serving.agent.finish import Finisher
from virc.serving.agent.request import Problem

WORDS = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["a", "b"]}
WRITTEN = '{"a": "é", "b": "x"}'
SAMPLINGS = (Sampling(max_tokens=50), Sampling(max_tokens=50, temperature=1.0))


class Model:
    """Gives replies in their order; keeps what it was asked."""

    def __init__(self, *replies: Reply | Exception) -> None:
        self._replies, self.asks, self.samplings = [*replies], list[Ask](), list[Sampling]()

    def reply(self, ask: Ask, sampling: Sampling, on_text: Any, seconds: float | None) -> Reply:
        self.asks.append(ask)
        self.samplings.append(sampling)
        on_text("…")
        reply = self._replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


def finished(model: Model, answer: str = "1", *thoughts: str, **problem: Any) -> Answer:
    given: Any = model
    finisher = Finisher(Problem("m", f"Read {PLACE} now", **problem), given, SAMPLINGS, Deadline(None), lambda: None)
    return finisher.finished(Answer(answer, prompt_tokens=10, completion_tokens=20), thoughts)


@pytest.mark.parametrize(
    ("answer", "schema", "content", "asked"),
    [
        ("7", {"type": "object", "properties": {"v": {"type": "integer"}}}, '{"v": 7}', 0),
        ("7°", {"type": "object", "properties": {"v": {"type": "integer"}}}, '{"v": 7}', 0),
        ("7", {"type": "object", "properties": {"v": {"type": "string"}}}, '{"v": "7"}', 0),
        (f"```json\n{WRITTEN}\n```", WORDS, WRITTEN, 0),
        ("7", {**WORDS, "required": []}, WRITTEN, 1),
        ("seven", {"type": "object", "properties": {"v": {"type": "integer"}}, "required": ["v"]}, '{"v": 7}', 1),
    ],
)
def test_no_model_is_asked_where_the_answer_has_one_place(answer: str, schema: Any, content: str, asked: int) -> None:
    model = Model(Reply(content))
    assert finished(model, answer, schema=schema).content == content
    assert len(model.asks) == asked


NUMBER = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a"]}
CUT, WHOLE = Reply('{"a": 1', finish="length", completion_tokens=3), Reply('{"a": 1}', completion_tokens=4)


@pytest.mark.parametrize(
    ("replies", "max_tokens", "content", "finish", "asks"),
    [
        ([CUT, WHOLE], None, '{"a": 1}', "stop", 2),
        ([CUT, WHOLE], 50, '{"a": 1}', "stop", 2),
        ([CUT, WHOLE], 3, '{"a": 1', "length", 1),
    ],
)
def test_json_that_was_cut_is_written_again(
    replies: list[Reply], max_tokens: int | None, content: str, finish: str, asks: int
) -> None:
    left = list(replies)
    backend: Any = SimpleNamespace(reply=lambda *_: left.pop(0))
    problem = Problem("m", "q", max_tokens=max_tokens, schema=NUMBER)
    samplings = [Sampling(max_tokens=50), Sampling(max_tokens=50, temperature=1.0)]
    finisher = Finisher(problem, backend, samplings, Deadline(None), lambda: None)
    found = finisher.finished(Answer("one"), ["thought"])
    assert (found.content, found.finish, len(replies) - len(left)) == (content, finish, asks)
    assert found.completion_tokens == sum(reply.completion_tokens or 0 for reply in replies[:asks])
