"""How an answer is made what its request wants: what the model is asked for, and what is counted."""

from typing import Any

import pytest

from virc.backends.interface import Sampling
from virc.core.errors import EngineError, NoAnswerError
from virc.core.limits.bounded import Share
from virc.core.timeouts import Deadline, TimeUp
from virc.reasoning.session import Ask, Reply
from virc.reasoning.turns import MARK, PLACE
from virc.serving.agent.answer import Answer, ClientCall
from virc.serving.agent.finish import Finisher, Schema
from virc.serving.agent.request import ClientTool, Problem

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


def test_the_model_gets_all_it_has_to_write_and_its_tokens_are_added() -> None:
    model = Model(Reply(WRITTEN, prompt_tokens=3, completion_tokens=4))
    found = finished(model, "one", "first", "second", schema=WORDS)
    assert (found.content, found.finish, found.refusal, found.call) == (WRITTEN, "stop", None, None)
    assert (found.prompt_tokens, found.completion_tokens) == (13, 24)
    (ask,) = model.asks
    (message,) = ask.messages
    about = f"Question:\nRead {MARK} now\n\nReasoning:\nfirst\n\nsecond\n\nAnswer:\none\n\n"
    assert message.text.startswith(about)
    assert ask.json_schema == WORDS
    assert ask.images == ()


def test_tokens_that_a_server_does_not_count_are_none() -> None:
    found = finished(Model(Reply("no"), Reply(WRITTEN)), schema=WORDS)
    assert (found.prompt_tokens, found.completion_tokens) == (10, 20)


@pytest.mark.parametrize(
    ("answer", "schema", "content", "asked"),
    [
        ("7", {"type": "object", "properties": {"v": {"type": "integer"}}}, '{"v": 7}', 0),
        ("7°", {"type": "object", "properties": {"v": {"type": "integer"}}}, '{"v": 7}', 0),
        ("é", {"type": "object", "properties": {"v": {"type": "string"}}}, '{"v": "é"}', 0),
        ("7", {"type": "object", "properties": {"v": {"type": "string"}}}, '{"v": "7"}', 0),
        (f"```json\n{WRITTEN}\n```", WORDS, WRITTEN, 0),  # it is as it should be
        ("7", WORDS, WRITTEN, 1),
        ("7", {**WORDS, "required": []}, WRITTEN, 1),  # either of two could be meant
        ("seven", {"type": "object", "properties": {"v": {"type": "integer"}}, "required": ["v"]}, '{"v": 7}', 1),
    ],
)
def test_no_model_is_asked_where_the_answer_has_one_place(answer: str, schema: Any, content: str, asked: int) -> None:
    model = Model(Reply(content))
    assert finished(model, answer, schema=schema).content == content
    assert len(model.asks) == asked


@pytest.mark.parametrize(("reply", "content"), [("{}", '{"answer": "7 cm"}'), ('{"width": 7}', '{"width": 7}')])
def test_any_object_keeps_the_answer(reply: str, content: str) -> None:
    assert finished(Model(Reply(reply)), "7 cm", schema={"type": "object"}).content == content


def test_an_empty_object_stays_where_nothing_else_fits() -> None:
    closed = {"type": "object", "additionalProperties": False}
    assert finished(Model(Reply("{}")), "7 cm", schema=closed).content == "{}"


@pytest.mark.parametrize("error", [EngineError("no grammar"), NoAnswerError("nothing")])
def test_an_engine_that_cannot_hold_a_model_to_a_schema_is_asked_without(error: Exception) -> None:
    model = Model(error, Reply(WRITTEN))
    if not isinstance(error, EngineError):
        with pytest.raises(NoAnswerError):
            finished(model, schema=WORDS)
        return
    assert finished(model, schema=WORDS).content == WRITTEN
    assert [ask.json_schema for ask in model.asks] == [WORDS, None]
    assert model.asks[0].messages == model.asks[1].messages
    with pytest.raises(EngineError, match="again"):
        finished(Model(error, EngineError("again")), schema=WORDS)


def test_each_try_has_a_seed_of_its_own_and_the_shorter_limit() -> None:
    drawn = []
    for seed in (1, 1, 2):
        model = Model(Reply("no"), Reply(WRITTEN))
        assert finished(model, schema=WORDS, seed=seed, max_tokens=30).content == WRITTEN
        assert [each.max_tokens for each in model.samplings] == [30, 30]
        assert [each.temperature for each in model.samplings] == [SAMPLINGS[0].temperature, 1.0]
        drawn.append([each.seed for each in model.samplings])
    assert drawn[0] == drawn[1]
    assert len({*drawn[0], *drawn[2]}) == 4
    model = Model(Reply(WRITTEN))
    finished(model, schema=WORDS, max_tokens=99)
    assert model.samplings[0].max_tokens == 50


def test_what_never_fits_is_a_refusal_with_what_it_took() -> None:
    found = finished(Model(*[Reply("no", prompt_tokens=1, completion_tokens=2)] * 2), "seven", schema=WORDS)
    assert found.refusal == "the answer 'seven' could not be written as JSON that fits the schema"
    assert (found.content, found.prompt_tokens, found.completion_tokens) == ("", 12, 24)


SKIP = {"type": "object", "properties": {}}
FUNCTIONS = (ClientTool("Report", "Reports words.", WORDS), ClientTool("Skip", "", SKIP))


def test_the_function_is_chosen_before_its_arguments_are_written() -> None:
    model = Model(Reply('{"name": "Report"}'), Reply(WRITTEN))
    found = finished(model, "one", forced=FUNCTIONS)
    assert (found.content, found.finish, found.call) == ("", "tool_calls", ClientCall("Report", WRITTEN))
    first, second = (ask.messages[0].text for ask in model.asks)
    assert "Report: Reports words.\nSkip: " in first
    assert "Reports words.\n\n" in second
    assert model.asks[0].json_schema["properties"]["name"]["enum"] == ["Report", "Skip"]  # type: ignore[index]
    only = Model(Reply(WRITTEN))
    assert finished(only, "one", forced=FUNCTIONS[:1]).call == ClientCall("Report", WRITTEN)
    assert len(only.asks) == 1


def test_who_listens_no_more_ends_it_at_the_next_word() -> None:
    class GoneError(Exception):
        pass

    def check() -> None:
        if model.asks:
            raise GoneError

    model: Any = Model(Reply(WRITTEN))
    finisher = Finisher(Problem("m", "q", schema=WORDS), model, SAMPLINGS, Deadline(None), check)
    with pytest.raises(GoneError):
        finisher.finished(Answer("one"), [])
    with pytest.raises(TimeUp):
        Finisher(Problem("m", "q", schema=WORDS), model, SAMPLINGS, Deadline(0.0), lambda: None)


def test_a_schema_is_read_as_long_as_somebody_waits() -> None:
    asked = list[str]()
    schema = Schema(WORDS, "tools", lambda: asked.append("who listens?"), Share(2.0))
    assert (schema.fitting(WRITTEN), schema.fitting("{}"), len(asked)) == (WRITTEN, None, 3)


@pytest.mark.parametrize(
    ("answer", "problem", "content", "finish"),
    [
        ("a. b. c", {"stop": ("c", "b")}, "a. ", "stop"),  # whichever comes first
        ("a. b. c", {"stop": ("z",)}, "a. b. c", "stop"),
        ("a. b. c", {"stop": ("a",)}, "", "stop"),
        ("1234", {"max_tokens": 4}, "1234", "stop"),
        ("1234", {"max_tokens": 3}, "123", "length"),
        ("abcdefgh", {"max_tokens": 1}, "abcde", "length"),
        ("a b", {"max_tokens": 1}, "a", "length"),
        ("a b", {"max_tokens": 2}, "a b", "stop"),
    ],
)
def test_an_answer_ends_where_the_request_says(answer: str, problem: Any, content: str, finish: str) -> None:
    found = finished(Model(), answer, **problem)
    assert (found.content, found.finish) == (content, finish)
    assert (found.prompt_tokens, found.completion_tokens) == (10, 20)


def test_what_was_refused_is_not_written_as_json() -> None:
    model: Any = Model()
    finisher = Finisher(Problem("m", "q", schema=WORDS), model, SAMPLINGS, Deadline(None), lambda: None)
    refused = Answer("half", "the model gave up", prompt_tokens=10)
    assert finisher.finished(refused, []) == Answer("", "the model gave up", prompt_tokens=10)
    plain = Finisher(Problem("m", "q", max_tokens=1, stop=("a",)), model, SAMPLINGS, Deadline(None), lambda: None)
    assert plain.finished(refused, []) is refused
    assert model.asks == []
