"""Terms of rewards of one reply, by hand: the cases in which their programs differ from what one would write."""

import asyncio
from collections.abc import Callable
from inspect import isawaitable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from virc.data.rows.record import MARK, Message, Record
from virc.rewards.means import Means
from virc.rewards.sample import Prompt, Sample, sample
from virc_zoo.actial import actial
from virc_zoo.curr_reft import curr_reft_choice, curr_reft_judge, curr_reft_open
from virc_zoo.curr_reft import rows as curr_reft_rows
from virc_zoo.deepeyes import deepeyes
from virc_zoo.grit import grit
from virc_zoo.honeybee import pipeline as honeybee
from virc_zoo.openvlthinker import openvlthinker
from virc_zoo.pixel_reasoner import pixel_reasoner
from virc_zoo.prism import pipeline as prism
from virc_zoo.reason_rft import rows as reason_rft_rows


def read(reply: str, answer: str = "5", **columns: Any) -> Sample:
    return sample(reply, Prompt(Record((Message("user", "?"),), question="?", answer=answer, extra=columns)))


@pytest.mark.parametrize(
    ("term", "reply", "answer", "task", "value"),
    [
        (actial.right, "<ANSWER> 5 </answer><answer>6</answer>", "5", "", 1),  # the first counts
        (actial.right, "5", "None", "", 1),  # without marks it is the word None
        (actial.right, "<answer> </answer>", "", "", 0),
        (actial.formed, "\n<think>a</think> <Answer>5</answer> ", "5", "", 1),
        (actial.formed, "<answer>5</answer>", "5", "", 0),
        (actial.formed, "<think>a</think><answer>5</answer> so", "5", "", 0),
        (curr_reft_judge.framed, "<think>a</think>\n<answer>5</answer>", "5", "math", 1),
        (curr_reft_judge.framed, "so <think>a</think><answer>5</answer>", "5", "math", 0),
        (curr_reft_judge.framed, "<think>a</think><answer>{[1, 2, 3, 4]}</answer>", "5", "detection", 1),
        (curr_reft_judge.framed, "<think>a</think><answer>[1, 2, 3, 4]{}</answer>", "5", "detection", 0),
        (curr_reft_judge.right, "<answer>Yes, it is</answer>", "true", "", 1),
        (curr_reft_judge.right, "<answer>not incorrectly</answer>", "perhaps", "", 0),  # neither says yes or no
        (curr_reft_judge.right, "<answer>yes and no</answer>", "no", "", 0),
        (curr_reft_choice.right, "<answer>a and b</answer>", "A, B", "", 1),
        (curr_reft_choice.right, "<answer>b and a</answer>", "A, B", "", 0),
        (curr_reft_choice.right, "A, B", "A, B", "", 0),
        (curr_reft_open.found, "<answer>[0, 0, 10, 10] [0, 0, 0, 0]</answer>", "[0, 0, 10, 10]", "detection", 1),
        (curr_reft_open.found, "<answer>[9, 9, 9, 9] [0, 0, 9, 10]</answer>", "[0, 0, 10, 10]", "detection", 1),
        (curr_reft_open.found, "<answer>[0, 0, 5.9, 10]</answer>", "[0, 0, 10, 10]", "detection", 0),  # 5, of 10
        (curr_reft_open.named, "<answer>cat, dog</answer>", "dog", "classify", 0.5),
        (curr_reft_open.named, "<answer>cat [</answer>", "cat", "classify", 0),
        (curr_reft_open.named, "<answer>cat.", "cat", "classify", 1),  # to the last character but one
        (deepeyes.orderly, "<think><answer></think><answer>5</answer>", "5", "", 0),
        (deepeyes.orderly, "<think>a</think><answer>5", "5", "", -1),
        (grit.worded, "<answer>red", "red cars", "", pytest.approx(0.3679, abs=1e-4)),  # e**(1 - 2 / 1)
        (grit.worded, "<answer>red, red cars!", "Red cars", "", pytest.approx(2 / 3)),
        (grit.answered, "<answer><answer>", "5", "", 0.5),
        (grit.boxed, "1,2,3,4", "5", "", 0),
        (grit.boxed, "1,2,3,4<rethink>", "5", "", 1),
        (grit.counted, "1,2,3,4 and 5, 6, 7, 8<rethink>9,9,9,9", "2", "", 1),
        (grit.counted, "1,2,3,4", "1", "", 0),
        (grit.ordered, "<think>-</think><rethink>b</rethink>", "5", "", 0.8),
        (grit.ordered, "<think>a b</think><rethink>b</rethink>", "5", "", 1),
        (openvlthinker.concluded, "<think>a</think> so <think>b</think><answer>5</answer>", "5", "", 0),
        (openvlthinker.concluded, "<think>a</think> so <answer>5</answer>", "5", "", 1),
    ],
)
def test_a_term_is_as_its_program_has_it(
    term: Callable[[Sample, Means], Any], reply: str, answer: str, task: str, value: Any
) -> None:
    async def found() -> Any:
        term_value = term(read(reply, answer, task=task, dataset="tallyqa"), Means())
        return await term_value if isawaitable(term_value) else term_value

    assert asyncio.run(found()) == value


def test_words_and_tokens_that_are_repeated_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grit, "token_ids", lambda *_: list(range(30)))
    assert grit.varied(read("a b c d e f g h " * 2), Means()) == pytest.approx(1 - 1 / 8)
    assert grit.verdict("score: 0 and 1 more") == 0


def test_a_rollout_is_worth_what_its_module_says() -> None:
    assert [pixel_reasoner.whole([0.2, 1], SimpleNamespace(ended=how)) for how in ("answer", "turns")] == [1, 0]
    assert openvlthinker.total(SimpleNamespace(answer=1, concluded=0)) == 0.5
    told = [Message("assistant", f"a{MARK}"), Message("user", f"{MARK}out")]
    said = sample("b", Prompt(Record((Message("user", "?"), *told), question="?")))
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    assert deepeyes.completion(said) == (
        f"a{MARK}<|im_end|>\n<|im_start|>user\n{image}out<|im_end|>\n<|im_start|>assistant\nb<|im_end|>"
    )
    assert curr_reft_judge.answer_of("<answer> a </answer>") == "a"


@pytest.mark.parametrize(
    ("module", "layout", "changed"),
    [
        (curr_reft_rows, "judge", True), (curr_reft_rows, "other", False), (reason_rft_rows, "count", True),
        (reason_rft_rows, "structure", True), (reason_rft_rows, "transform", True), (reason_rft_rows, "other", False),
    ],
)  # fmt: skip
def test_a_problem_is_asked_with_the_sentences_of_its_task(
    module: Any, layout: str, changed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_OWN_WORDS", "1")
    rows = [{"id": 1, "problem": "How many cups?", "solution": solution} for solution in ("D", "5")]
    first, second = (next(module.rows(row, 1, layout, Path())) for row in rows)
    assert (first["id"], "How many cups?" in first["problem"], first != rows[0]) == (1, True, changed)
    assert (first["problem"] == second["problem"]) == (layout != "structure")


def test_a_description_is_told_and_all_solutions_vote() -> None:
    asked: list[Any] = []

    def ask(*words: Any, step: str) -> str:
        asked.append(words[-1])
        return r"<caption>a cup</caption> \boxed{1}" if step == "caption" else "a cup"

    def drawn(count: int, pictures: Any, text: str, step: str) -> list[str]:
        asked.append((count, text))
        return [r"\boxed{2}", "none", r"\boxed{2}", r"\boxed{1}"]

    voted: list[Any] = []
    problem: Any = SimpleNamespace(images=["picture"], question="How many?")
    model: Any = SimpleNamespace(ask=ask, sample=drawn)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(honeybee, "vote", lambda texts: voted.extend(texts) or "1")
        assert honeybee.solve(problem, SimpleNamespace(model=model)) == "1"  # type: ignore[arg-type]
    assert voted == ["1", "2", "2", "1"]
    assert (asked[1][0], asked[1][1].endswith("\n\n<caption>a cup</caption>")) == (63, True)
    prism.solve(problem, SimpleNamespace(eyes=model, mind=model))  # type: ignore[arg-type]
    assert asked[-1].endswith("Description: a cup\nQuestion: How many?\n")
