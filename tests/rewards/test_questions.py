"""A question in a reward file: what the judge is shown, how its reply is read, and who is asked."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from rewards.prompts import answer, prompt
from support.scripted_judge import ScriptedJudge, judged

from virc.core.errors import ConfigError
from virc.data.rows.record import Message, Record
from virc.rewards import registry as rewards
from virc.rewards.context import RewardContext, UnscoredError
from virc.rewards.question import Question, Reading, choice, field, grade, yes_no
from virc.rewards.sample import prompt_of, sample
from virc.systems.registry import Judging, Reward

GRADE = {"type": "object", "required": ["score"], "properties": {"score": {"type": "number", "maximum": 10}}}


@pytest.mark.parametrize(
    ("read", "reply", "value"),
    [
        (yes_no, "Yes", 1), (yes_no, "**No.** It does not.", 0), (yes_no, "I think so, the answer is: yes.", 1),
        (yes_no, r"Yes? Not at all: \boxed{no}", 0), (yes_no, "Nothing can be said", None), (yes_no, "", None),
        (grade(0, 10), r"\boxed{5}", 0.5), (grade(0, 10), "Score: 8/10", 0.8), (grade(1, 5), "I give it a 5.", 1),
        (grade(0, 10), "3 faults of 4 parts\nso 2.5", 0.25), (grade(0, 1), "1.5", None), (grade(0, 1), "much", None),
        (grade(1, 5), "0", None), (grade(-1, 1), "-1", 0), (grade(0, 10), "10", 1), (grade(0, 100), "85%", 0.85),
        (choice({"A": 1, "B": 0.5, "C": 0}), "(b)", 0.5), (choice({"A": 1, "B": 0.5}), "It is A", 1),
        (choice({"A": 1, "B": 0.5}), "D", None), (choice({"A": 1, "B": 0}), r"A or B: \boxed{B}", 0),
        (field(GRADE, "score"), '```json\n{"score": 7, "why": "good"}\n```', 7), (field(GRADE, "score"), "7", None),
        (field(GRADE, "score"), '{"score": 11}', None), (field(GRADE, "score"), '{"score": "7"}', None),
        (field(GRADE, lambda found: found["score"] / 10), 'So: {"score": 7}.', 0.7),
        (grade(1, 5), "4 out of 5", 0.75), (grade(1, 5), "Score: 4 of 5", 0.75), (grade(1, 5), "3 or 4", None),
        (grade(1, 5), "Score: 4 (on a scale of 1-5)", 0.75), (grade(1, 5), "From 1 to 5: 2", 0.25),
        (yes_no, r"\boxed{no}, but rather \boxed{yes}", 1), (grade(0, 10), r"\boxed{2}? No, \boxed{5}.", 0.5),
        (yes_no, r"\boxed{\text{Yes}}", 1), (yes_no, "No doubt: yes", None), (yes_no, "no, no, no", 0),
        (field({}, "score"), "{}", None), (field({}, "score"), '{"score": "x"}', None),
        (field({}, "score"), '{"score": NaN}', None), (field({}, "score"), '{"score": null}', None),
        (field({}, "score"), '{"score": 1e999}', None), (field({}, "score"), '{"score": ' + "9" * 5000 + "}", None),
        (field({}, lambda found: 1 / found["score"]), '{"score": 0}', None), (field({}, len), "no object", None),
    ],
)  # fmt: skip
def test_a_reply_is_read_as_it_is_meant(read: Reading, reply: str, value: float | None) -> None:
    found = read(reply)
    assert found == (None if value is None else pytest.approx(value))


def scored(question: Question, reply: str, context: RewardContext, **known: Any) -> tuple[float | None, ScriptedJudge]:
    found = asyncio.run(question.score(sample(reply, prompt(strict="own", **known)), context, "own"))
    assert isinstance(context.judge, ScriptedJudge)
    return found, context.judge


def test_what_a_row_lacks_is_said_before_a_judge_is_missed() -> None:
    asked = {"{row.hint}": "the column hint", "{image_4}": "image 4", "{image_1}": "image 1"}
    for text, lacks in asked.items():
        with pytest.raises(UnscoredError, match=f"needs {lacks}"):
            scored(Question(text, yes_no), answer("5"), RewardContext())
    blind = sample(answer("5"), prompt_of(Record((Message("user", "2 + 3?"),), question="2 + 3?", answer="5")))
    with pytest.raises(UnscoredError, match="needs an image, and the question has none"):
        asyncio.run(Question("{image}?", yes_no).score(blind, judged("yes"), "own"))
    with pytest.raises(UnscoredError, match="needs a judge, critic"):
        asyncio.run(Question("a", yes_no, judge="critic").score(sample(answer("5"), prompt()), judged("yes"), "own"))


FILE = """
from virc.rewards.question import Question, grade, yes_no

TERMS = ("format", "faithful", "clear")
faithful = Question("{image} Does it show this? {thought} Reply yes or no.", yes_no, about="whether it is seen")
clear = Question("How clear is {reply}? From 1 to 5.", grade(1, 5), system="You grade.", judge="critic",
                 temperature=0.5, max_tokens=77)


def total(t):
    return t.format + t.faithful + t.clear if t.format else 0.0
"""


@pytest.fixture
def system(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(FILE)
    file = tmp_path / "own.yaml"
    file.write_text("name: own\nreward: {total: ./own.py, judges: {critic: {}}}\n")
    return file


def test_a_file_with_questions_is_a_reward(system: Path) -> None:
    total = rewards.of(Reward(total=str(system.with_name("own.py")), judges={"critic": Judging()}))
    assert [(term.name, term.about) for term in total.terms][1:] == [
        ("faithful", "whether it is seen"), ("clear", "what a judge says"),
    ]  # fmt: skip
    read = sample(answer("5"), prompt(strict="own"))
    found = asyncio.run(rewards.score(read, total, judged("yes", critic="4")))
    assert (found.total, found.terms["clear"]) == (2.75, 0.75)
    assert found.why["faithful"] == "the judge: yes"
    with pytest.raises(ConfigError, match=r"clear of .*own\.py asks 'critic', and reward.judges has none"):
        rewards.of(Reward(total=str(system.with_name("own.py"))))
