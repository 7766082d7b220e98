"""Pipelines: what the YAML may say, and what each role is sent."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from virc.backends.interface import OnText, Sampling
from virc.config import yaml
from virc.core.errors import ConfigError, NetworkError, NoAnswerError
from virc.core.seeds import derived
from virc.core.timeouts import Deadline
from virc.models.chat_protocol import ChatProtocol
from virc.models.load import Opened
from virc.reasoning.protocol import own_protocol
from virc.reasoning.resize import Grid
from virc.reasoning.session import Ask, Reply
from virc.solving.pipelines.files import read
from virc.solving.pipelines.program import run_code
from virc.solving.pipelines.roles import OpenRole, speaker
from virc.solving.pipelines.run import Loop, Solved
from virc.solving.pipelines.run import run as run_steps
from virc.solving.pipelines.schema import Pipeline
from virc.solving.pipelines.speaking import Speaker, Spoken
from virc.solving.sampling.grades import read_score

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


def of(step: dict[str, Any]) -> dict[str, Any]:
    """A pipeline of one step, whose output is the answer."""
    return {"steps": [{"name": "a", **step}], "answer": "a"}


class Scripted:
    """Gives its texts in turn, or what a function makes of the last message; replies of one step come in any order."""

    model = "scripted"

    def __init__(self, *texts: str, to: Callable[[str], str] | None = None) -> None:
        self.texts, self.asks, self.sampling = list(texts), list[Ask](), list[Sampling]()
        self.grid, self.to, self.lock = Grid(14, 2), to, threading.Lock()

    def reply(self, ask: Ask, sampling: Sampling, on_text: OnText | None = None, seconds: float | None = None) -> Reply:
        with self.lock:
            self.asks.append(ask)
            self.sampling.append(sampling)
            if self.to:
                return Reply(self.to(ask.messages[-1].text))
            if not self.texts:
                raise NetworkError("connection refused", "start the server")
            return Reply(self.texts.pop(0), prompt_tokens=5, completion_tokens=2)

    def close(self) -> None: ...


def pipeline(**changes: Any) -> Any:
    return read({**yaml.parse(TEXT, "test"), **changes}, "p.yaml")


def run(pipeline: Pipeline, question: str, backends: Mapping[str, Scripted], seed: int | None = None) -> Solved:
    def asked(name: str) -> Speaker:
        opened = Opened(name, backends[name], ChatProtocol(own_protocol(())))
        return speaker(OpenRole(pipeline.roles[name], opened), Deadline(None), 16, lambda: None)

    return run_steps(pipeline, question, {name: asked(name) for name in backends}, run_code, seed)


def test_steps_vote_skip_and_repeat_until_the_mark() -> None:
    eyes, mind = Scripted("4", "3", "4 "), Scripted("four?", "no", "four", "yes")
    solved = run(pipeline(), "How many?", {"eyes": eyes, "mind": mind}, seed=7)
    assert solved.answer == "four"
    assert [step.name for step in solved.steps] == ["seen", "count", "reason", "verdict", "reason", "verdict"]
    assert {each.seed for each in eyes.sampling} == {derived(7, "seen", number) for number in range(3)}
    assert [message.text for message in eyes.asks[0].messages] == ["You see.", "Count. How many?"]
    assert mind.asks[0].messages[0].text == "4 : How many?"
    assert solved.steps[0].completion_tokens == 6
    assert solved.loops == (Loop("verdict", 2, met=True),)


def test_a_loop_without_its_mark_ends_at_its_bound() -> None:
    mind = Scripted(*("no",) * 20)
    solved = run(pipeline(), "?", {"eyes": Scripted("1", "1", "1"), "mind": mind})
    assert len(mind.asks) == 6
    assert solved.loops == (Loop("verdict", 3, met=False),)


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
    grades = {"a": "3/10", "b": "9 of the 10 steps are wrong", "c": "As step 9 is right, **Score:** 7.5", "d": "7"}
    eyes = Scripted(to=lambda prompt: grades[prompt[6]])
    solved = run(pipeline(steps=steps, answer="best"), "?", {"eyes": eyes, "mind": Scripted("a", "b", "c", "d")})
    assert solved.answer == "c"
    assert solved.steps[1].prompt == "Grade c for ?"
    assert dict(zip(solved.steps[1].grades, solved.steps[1].scores, strict=True))[grades["b"]] is None
    assert {ask.messages[-1].text for ask in eyes.asks} == {f"Grade {each} for ?" for each in "abcd"}


def test_grades_that_cannot_be_read_are_an_error() -> None:
    steps = [
        {"name": "tries", "ask": "mind", "prompt": "{question}", "samples": 2},
        {"name": "best", "ask": "eyes", "best_of": "tries", "prompt": "{candidate}", "score": "grade=([0-9]+)"},
    ]
    backends = {"eyes": Scripted(to=lambda _: "score: 3"), "mind": Scripted("a", "b")}
    with pytest.raises(NoAnswerError, match="no grade can be read in any of 2 replies of role 'eyes'"):
        run(pipeline(steps=steps, answer="best"), "?", backends)


def test_samples_are_drawn_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=10)

    def seen(turns: object, sampling: Sampling) -> Spoken:
        together.wait()  # breaks unless all three are under way
        return Spoken(Reply(str(sampling.seed)))

    steps = [{"name": "seen", "ask": "eyes", "prompt": "{question}", "samples": 3}]
    speakers: dict[str, Speaker] = {"eyes": seen}
    solved = run_steps(pipeline(steps=steps, answer="seen"), "?", speakers, run_code, 7)
    assert solved.answer.split() == [str(derived(7, "seen", number)) for number in range(3)]


@pytest.mark.parametrize(
    ("reply", "grade"),
    [
        ("score: 7", 7),
        ("Step 2 is wrong.\n\n**Score**: 7.5 / 10", 7.5),
        ("The grade is 3 out of 5.", 3),
        ("<think>score: 9</think>\nRating = -0.5", -0.5),
        ("8", 8),
        ("**8/10**", 8),
        ("I see 3 errors in 4 steps", None),
        ("score: 7 for the first part, score: 2 for the second", None),
        ("score: 7, again score: 7", 7),
        ("score: 75%", None),
        ("score: 1e3", None),
        ("score: high", None),
        ("underscore: 7", None),
        ("", None),
    ],
)
def test_a_grade_is_read_where_it_is_said(reply: str, grade: float | None) -> None:
    assert read_score(reply) == grade


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
        ({"answer": "images"}, "answer gives no text: 'images'"),
        (of({"ask": "eyes", "prompt": "x", "images": "y"}), "uses 'y', which no earlier step gives"),
        (of({"ask": "eyes", "prompt": "x", "images": "question"}), "uses 'question' for pictures, and it gives texts"),
        (of({"ask": "eyes", "prompt": "{images}"}), "uses 'images' for texts, and it gives pictures"),
        (of({"crop": "question"}), "uses 'question' for boxes"),
        (of({"boxes": "question"}), "boxes and unit belong together"),
        (of({"ask": "eyes", "prompt": "x", "margin": 1}), "margin belongs to crop"),
        (of({"ask": "eyes", "prompt": "x", "score": "(.)"}), "score belongs to best_of"),
        (
            of({"ask": "eyes", "prompt": "{candidate}", "best_of": "question", "score": "a"}),
            "score 'a' needs one group, the number",
        ),
        ({"steps": [{"name": "a", "ask": "eye", "prompt": "x"}], "answer": "a"}, "unknown role: 'eye'"),
        ({"steps": [{"name": "a", "ask": "eyes", "prompt": "{b}"}], "answer": "a"}, "'b', which no earlier step"),
        ({"steps": [{"name": "a", "ask": "eyes"}], "answer": "a"}, "ask and prompt belong together"),
        ({"steps": [{"name": "a"}], "answer": "a"}, "exactly one of"),
        ({"steps": [{"name": "question", "vote": "question"}]}, "another value has this name"),
        (
            {"steps": [{"repeat": [{"name": "a", "vote": "question"}]}], "answer": "a"},
            "repeats steps and needs until and rounds",
        ),
        ({"steps": []}, "steps has no step"),
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
        (of({"code": "1", "run": "question"}), "exactly one of"),
        (of({"text": "x", "session": "s"}), "session belongs to run and code"),
        (of({"text": "x", "seconds": 3}), "seconds belongs to run and code"),
        (of({"ask": "eyes", "prompt": "x", "calls": 3}), "calls belongs to run and code"),
        (
            of({"code": "1", "functions": ["question"], "given": ["question"]})
            | {"functions": {"question": {"ask": "eyes", "prompt": "x"}}},
            "'question' is a function and a variable of its code",
        ),
        (of({"code": "1", "functions": ["look"]}), "calls an unknown function: 'look'"),
        (of({"code": "1", "given": ["images"]}), "uses 'images' for texts"),
        ({"functions": {"look": {"ask": "eyes"}}}, "function 'look' needs ask and prompt, or tool"),
        ({"functions": {"look": {"ask": "eyes", "prompt": "x", "tool": "x"}}}, "needs ask and prompt, or tool"),
        ({"functions": {"look": {"ask": "eye", "prompt": "x"}}}, "function 'look' asks an unknown role: 'eye'"),
        ({"functions": {"look": {"ask": "eyes", "prompt": "x", "gives": "images"}}}, "a role gives text or json"),
        ({"functions": {"lambda": {"tool": "crop_image"}}}, "'lambda' is no name of a function"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pipeline(**changes)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"answer": "images"}, "there are count, doubt, reason, seen, verdict"),
        ({"answer": "question"}, "there are count, doubt, reason, seen, verdict"),
        (
            {"steps": [{"name": "t", "text": "x"}, {"name": "a", "ask": "eyes", "prompt": "x", "after": "t"}]},
            "no other step asks 'eyes'",
        ),
        (
            {"steps": [{"repeat": [{"name": "a", "vote": "question"}], "until": {"value": "a", "matches": "x"}}]},
            "rounds: 3",
        ),
    ],
)
def test_what_to_write_instead_would_not_be_wrong_again(changes: dict[str, Any], hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pipeline(**changes)
    assert caught.value.hint == hint
