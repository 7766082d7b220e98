"""Pipelines: what the YAML may say, and what each role is sent."""

from collections.abc import Mapping
from typing import Any

import pytest

from virc.backends.interface import OnText, Sampling
from virc.config import yaml
from virc.core.errors import ConfigError, NetworkError
from virc.core.seeds import derived
from virc.core.timeouts import Deadline
from virc.models.chat_protocol import ChatProtocol
from virc.models.load import Opened
from virc.reasoning.protocol import own_protocol
from virc.reasoning.resize import Grid
from virc.reasoning.session import Ask, Reply
from virc.solving.pipelines.program import runner
from virc.solving.pipelines.roles import OpenRole, speaker
from virc.solving.pipelines.run import Solved, Speaker
from virc.solving.pipelines.run import run as run_steps
from virc.solving.pipelines.schema import Pipeline, read

TEXT = """
roles:
  eyes: {system: You see., temperature: 1}
  mind: {}
steps:
  - {name: seen, ask: eyes, images: true, samples: 3, prompt: "Count. {question}"}
  - {name: count, vote: seen}
  - {name: doubt, ask: eyes, prompt: "Really {count}?", when: {value: count, matches: "^9"}}
  - repeat:
      - {name: reason, ask: mind, prompt: "{count} {doubt}: {question}"}
      - {name: verdict, ask: mind, prompt: "Is {reason} right?"}
    until: {value: verdict, matches: "^yes"}
    rounds: 3
answer: reason
"""


class Scripted:
    model = "scripted"

    def __init__(self, *texts: str) -> None:
        self.texts, self.asks, self.sampling = list(texts), list[Ask](), list[Sampling]()
        self.grid = Grid(14, 2)

    def reply(self, ask: Ask, sampling: Sampling, on_text: OnText | None = None, seconds: float | None = None) -> Reply:
        self.asks.append(ask)
        self.sampling.append(sampling)
        if not self.texts:
            raise NetworkError("connection refused", "start the server")
        return Reply(self.texts.pop(0), prompt_tokens=5, completion_tokens=2)

    def close(self) -> None: ...


def pipeline(**changes: Any) -> Any:
    return read({**yaml.parse(TEXT, "test"), **changes}, "p.yaml")


def run(pipeline: Pipeline, question: str, backends: Mapping[str, Scripted], seed: int | None = None) -> Solved:
    def asked(name: str) -> Speaker:
        opened = Opened(name, backends[name], ChatProtocol(own_protocol(())))
        return speaker(OpenRole(pipeline.roles[name], opened), (), Deadline(None), 16, lambda: None)

    return run_steps(pipeline, question, {name: asked(name) for name in backends}, runner(()), seed)


def test_steps_vote_skip_and_repeat_until_the_mark() -> None:
    eyes, mind = Scripted("4", "3", "4 "), Scripted("four?", "no", "four", "yes")
    solved = run(pipeline(), "How many?", {"eyes": eyes, "mind": mind}, seed=7)
    assert solved.answer == "four"
    assert [step.name for step in solved.steps] == ["seen", "count", "reason", "verdict", "reason", "verdict"]
    assert [each.seed for each in eyes.sampling] == [derived(7, "seen", number) for number in range(3)]
    assert [message.text for message in eyes.asks[0].messages] == ["You see.", "Count. How many?"]
    assert mind.asks[0].messages[0].text == "4 : How many?"
    assert solved.steps[0].completion_tokens == 6


def test_a_loop_without_its_mark_ends_at_its_bound() -> None:
    mind = Scripted(*("no",) * 20)
    run(pipeline(), "?", {"eyes": Scripted("1", "1", "1"), "mind": mind})
    assert len(mind.asks) == 6


def test_a_loop_has_the_last_round_of_later_steps() -> None:
    steps = [
        {
            "repeat": [
                {"name": "try", "ask": "mind", "prompt": "{critique}: {question}"},
                {"name": "critique", "ask": "eyes", "prompt": "{try}"},
            ],
            "until": {"value": "critique", "matches": "^yes"},
            "rounds": 3,
        }
    ]
    mind = Scripted("a", "b")
    run(pipeline(steps=steps, answer="try"), "?", {"eyes": Scripted("too short", "yes"), "mind": mind})
    assert [ask.messages[-1].text for ask in mind.asks] == [": ?", "too short: ?"]


def test_the_best_of_several_is_the_one_with_the_highest_grade() -> None:
    steps = [
        {"name": "tries", "ask": "mind", "prompt": "{question}", "samples": 4},
        {"name": "best", "ask": "eyes", "best_of": "tries", "prompt": "Grade {candidate} for {question}"},
    ]
    eyes = Scripted("3 of 10", "cannot say", "7.5, as step 9 is wrong", "7")
    solved = run(pipeline(steps=steps, answer="best"), "?", {"eyes": eyes, "mind": Scripted("a", "b", "c", "d")})
    assert solved.answer == "c"
    assert solved.steps[1].prompt == "Grade c for ?"
    assert solved.steps[1].grades[0] == "3 of 10"
    assert eyes.asks[0].messages[-1].text == "Grade a for ?"


def test_a_text_gathers_what_is_found_in_each_round() -> None:
    steps = [
        {
            "repeat": [
                {"name": "reply", "ask": "mind", "prompt": "Known:{facts} {question}"},
                {"name": "fact", "find": {"value": "reply", "matches": r"fact: (\w+)"}},
                {"name": "facts", "text": "{facts} {fact}"},
                {"name": "end", "find": {"value": "reply", "matches": "DONE|GIVEN UP"}},
            ],
            "until": {"value": "end", "matches": "DONE"},
            "rounds": 4,
        }
    ]
    mind = Scripted("fact: one, fact: none", "nothing", "fact: two; DONE")
    solved = run(pipeline(steps=steps, answer="facts"), "Why?", {"eyes": Scripted(), "mind": mind})
    assert solved.answer == " one  two"
    assert [ask.messages[-1].text for ask in mind.asks] == ["Known: Why?", "Known: one Why?", "Known: one  Why?"]
    assert [step.output for step in solved.steps if step.name == "end"] == [(), (), ("DONE",)]


def test_a_branch_runs_where_its_value_matches() -> None:
    eyes = Scripted("9", "9", "9", "sure")
    solved = run(pipeline(), "?", {"eyes": eyes, "mind": Scripted("a", "yes")})
    assert "doubt" in [step.name for step in solved.steps]
    assert eyes.asks[3].messages[-1].text == "Really 9?"


def test_braces_in_a_reply_are_not_filled_again() -> None:
    mind = Scripted("{question}", "yes")
    run(pipeline(), "?", {"eyes": Scripted("1", "1", "1"), "mind": mind})
    assert mind.asks[1].messages[0].text == "Is {question} right?"


def test_a_failing_role_is_named_and_keeps_its_kind_and_hint() -> None:
    with pytest.raises(NetworkError) as caught:
        run(pipeline(), "?", {"eyes": Scripted("1"), "mind": Scripted()})
    assert caught.value.message == "role 'eyes', step 'seen': connection refused"
    assert caught.value.hint == "start the server"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"answer": "reson"}, "answer names no step: 'reson'"),
        ({"steps": [{"name": "a", "ask": "eye", "prompt": "x"}], "answer": "a"}, "unknown role: 'eye'"),
        ({"steps": [{"name": "a", "ask": "eyes", "prompt": "{b}"}], "answer": "a"}, "'b', which no earlier step"),
        ({"steps": [{"name": "a", "ask": "eyes"}], "answer": "a"}, "ask and prompt belong together"),
        ({"steps": [{"name": "a"}], "answer": "a"}, "exactly one of"),
        ({"steps": [{"name": "question", "vote": "question"}]}, "another value has this name"),
        ({"steps": [{"repeat": [{"name": "a", "vote": "question"}]}], "answer": "a"}, "needs until and rounds"),
        (
            {"steps": [{"name": "a", "vote": "question", "when": {"value": "question", "matches": "("}}]},
            "is no regular expression",
        ),
        ({"stepz": []}, "stepz"),
        ({"steps": [{"name": "a", "text": "x", "vote": "question"}], "answer": "a"}, "exactly one of"),
        ({"steps": [{"name": "a", "text": "{b}"}], "answer": "a"}, "'b', which no earlier step"),
        ({"steps": [{"name": "a", "find": {"value": "b", "matches": "x"}}], "answer": "a"}, "'b', which no"),
        ({"steps": [{"name": "a", "find": {"value": "question", "matches": "["}}]}, "is no regular expression"),
        ({"steps": [{"name": "a", "ask": "eyes", "best_of": "question", "prompt": "x"}], "answer": "a"}, "{candidate}"),
        ({"steps": [{"name": "a", "ask": "eyes", "prompt": "{candidate}"}], "answer": "a"}, "'candidate', which no"),
        (
            {"roles": {"eyes": {"own_protocol": True}}, "steps": [{"name": "a", "ask": "eyes", "prompt": "x"}]},
            "needs images",
        ),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pipeline(**changes)
    assert words in caught.value.message
