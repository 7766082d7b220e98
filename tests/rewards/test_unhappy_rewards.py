"""Rewards where something lacks: failed calls of earlier replies, judges that fail at first, values that are none."""

import asyncio
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from rewards.prompts import answer, crop, prompt, tool

from virc.backends.openai.link import Link
from virc.core.errors import ConfigError, NetworkError
from virc.reasoning.session import Ask, Message
from virc.rewards import judging, rollouts, trial
from virc.rewards import registry as rewards
from virc.rewards.judging import Judge
from virc.rewards.means import Means
from virc.rewards.published import read_verdict
from virc.rewards.registry import Term, Total
from virc.rewards.sample import Sample, sample


@pytest.mark.parametrize(
    ("units", "ended", "value"),
    [
        ([0.8], "answer", 0.8), ([0.5, 0.1, 0.8], "answer", 0.3 + 0.8), ([-1.0, 0.8], "answer", -0.2),
        ([0.5], "length", 0.5), ([0.5, 0.1], "length", 0.3), ([], "length", 0.0), ([0.5, 0.1], "format", -1.0),
    ],
)  # fmt: skip
def test_a_rollout_is_worth_its_looks_on_average_and_its_answer(units: list[float], ended: str, value: float) -> None:
    assert rollouts.whole(units, SimpleNamespace(ended=ended)) == pytest.approx(value)


@pytest.mark.parametrize(("failures", "times"), [(2, 0), (3, 1), (4, 1)])
def test_a_judge_that_fails_many_questions_says_so_once(
    failures: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: dict[str, int] = {}

    def reply(ask: Ask, sampling: object) -> Any:
        text = ask.messages[-1].text
        tries[text] = tries.get(text, 0) + 1
        if tries[text] <= failures:
            raise NetworkError("it is busy")
        return SimpleNamespace(text=r"\boxed{1}")

    async def sleep(seconds: float) -> None:
        pass

    monkeypatch.setattr("virc.rewards.judging.asyncio.sleep", sleep)
    monkeypatch.setattr(Link, "answers", lambda self: True)
    said = list[str]()
    judge = Judge("http://127.0.0.1:9/v1", on_wait=said.append, patience=60)
    monkeypatch.setattr(
        judge, "_open", lambda: SimpleNamespace(kind="other", model="m", reply=reply, close=lambda: None)
    )

    async def both() -> list[float]:
        texts = ("a?", "b?")
        asks = (
            judge.verdict("own", Ask((Message("user", each),), ()), judging.SAMPLING, 1, read_verdict) for each in texts
        )
        return [each.value for each in await asyncio.gather(*asks)]

    assert asyncio.run(both()) == [1.0, 1.0]
    assert said == ["it is busy; such questions are asked again, for 60 s at most"] * times
    assert tries == {"a?": failures + 1, "b?": failures + 1}


def _given(value: Any, sample: Sample, means: Means) -> Any:
    return value


def total_of(value: Any, **terms: Any) -> Total:
    found = [Term(name, partial(_given, each), "", Path("mine.py")) for name, each in terms.items()]
    return Total("mine", found, value, "", Path("mine.py"))


@pytest.mark.parametrize(
    ("total", "says", "hint"),
    [
        (total_of(lambda t: "x" * 50), f"total of mine.py gives '{'x' * 40}', which is no number", None),
        (total_of(lambda t: None), "total of mine.py gives 'None', which is no number", "`return` and a number"),
        (total_of(lambda t: float("nan")), "total of mine.py gives 'nan', which is no number", None),
        (total_of(lambda t: t.a, a=float("inf")), "a of mine.py gives 'inf', which is no number", None),
        (total_of(lambda t: 1 + t.a, a=None, b=None, c=1.0), "mine.py fails: TypeError",
         "in a reply whose t.turn is 'answer', these terms are None: a, b"),
        (total_of(lambda t: t.aa, a=1.0), "mine.py fails: AttributeError: TERMS does not name 'aa'; did you mean 'a'?",
         "VIRC_DEBUG=1"),
        (total_of(lambda t: 1 / 0, a=None), "mine.py fails: ZeroDivisionError", "VIRC_DEBUG=1"),
    ],
)  # fmt: skip
def test_a_total_that_gives_no_number_is_one_sentence(total: Total, says: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as refused:
        asyncio.run(rewards.score(sample(answer("5"), prompt(strict="own")), total, Means()))
    assert says in refused.value.message
    assert refused.value.hint is None if hint is None else hint in (refused.value.hint or "")


def test_a_reply_at_which_the_published_program_raises_is_worth_nothing() -> None:
    read = sample(tool(crop(0, 0, 84, 84, index=-2)), prompt())
    found = asyncio.run(rewards.score(read, total_of(lambda t: 1.0, a=1.0), Means()))
    assert (found.total, found.terms, found.unscored) == (0.0, {"a": None}, {})
    assert found.why["format"].startswith("the published program raises: there is no image -2")


def tried(reply: str, total: Total, means: Means, *numbers: int) -> list[trial.Tried]:
    rows = [(number, [sample(reply, prompt(strict="own"))]) for number in numbers or (4,)]
    return list(trial.tried(rows, total, means, units=True))


def test_replies_are_compared_where_all_to_their_prompt_have_a_reward() -> None:
    total = msgspec.structs.replace(rewards.find("outcome"), group=lambda values, ts: [9.0] * len(values))
    found = tried(answer("5"), total, Means(), 4, 5, 6)
    unscored = msgspec.structs.replace(found[1].scored, total=None)
    rows = [found[0], msgspec.structs.replace(found[1], scored=unscored), msgspec.structs.replace(found[2], prompt=6)]
    assert [each.compared for each in trial.compared(rows, total)] == [None, None, 9.0]
