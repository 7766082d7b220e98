"""Totals of published systems on rollouts and groups, each value computed by hand."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rewards.prompts import answer, crop, prompt, tool

from virc.core.errors import ConfigError
from virc.reasoning.trace import Ended
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.context import RewardContext
from virc.rewards.registry import Term, Total
from virc.rewards.rollouts import Known, Last
from virc.rewards.sample import Sample, sample
from virc.systems import registry as systems

LOOK, FAR, WIDE = (
    tool(crop(0, 0, side, 98), think) for side, think in ((140, "short"), (70, "look there"), (280, "x"))
)
RIGHT, WRONG = answer("5", "AB is 5 cm long"), answer("6", "AB is 6 cm long")
SIZES = ((280, 196), (140, 112), (84, 112))


def rolled(
    replies: Sequence[str], total: Total | str, context: RewardContext | None = None, **columns: Any
) -> rollouts.Rollout:
    """The reward of a rollout, each reply of it after those before."""
    samples = [
        sample(reply, prompt(SIZES[: at + 1], before=replies[:at], strict="own", **columns))
        for at, reply in enumerate(replies)
    ]
    found = rewards.find(total) if isinstance(total, str) else total
    return asyncio.run(rollouts.score(samples, rollouts.ends(samples[-1]), found, context or RewardContext()))


def last(calls: int, ended: Ended = "answer") -> Last:
    return Last(Known("answer", {"called": float(calls > 0)}, {}, ended, calls + 1, calls))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("return rewards[1:]", "group of .* gives 1 rewards for 2 rollouts"),
        ("return [None, 1]", "group of .* gives 'None', which is no number"),
        ("return [float('inf'), 1]", "group of .* gives 'inf', which is no number"),
        ("return 1 / 0", "fails: ZeroDivisionError"),
        ("return 5", "fails: TypeError"),
        ("raise SystemExit(1)", r"fails: ExitError: .* sys.exit\(1\)"),
        ("return [t.nothing for t in ts]", "fails: AttributeError: TERMS does not name 'nothing'"),
    ],
)
def test_what_is_no_group_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"TERMS = ()\n\n\ndef total(t):\n    return 0\n\n\ndef group(rewards, ts):\n    {text}\n")
    with pytest.raises(ConfigError, match=sentence):
        rollouts.grouped(rewards.find(str(file)), [1.0, 0.0], [last(1), last(0)])


def weighted(text: str, folder: Path) -> Total:
    (folder / "s.yaml").write_text(f"name: s\nreward: {text}\n")
    reward = systems.load(folder / "s.yaml").reward
    assert reward
    return rewards.of(reward, folder)


@pytest.mark.parametrize(
    ("weights", "replies", "value"),
    [
        ("{answer: 0.8, format: 0.2}", [RIGHT], 1.0),
        ("{answer: 0.8, format: 0.2}", [LOOK, WRONG], 0.2),
        ("{answer: 0.8, format: 0.2}", [LOOK, "no tags"], 0.0),
        ("{answer: 0.8, format: 0.2}", [LOOK], 0.0),
        ("{answer: 0.5, format: 0.5}, gate: answer", [RIGHT], 1.0),
        ("{answer: 0.5, format: 0.5}, gate: answer", [WRONG], 0.0),
        ("{answer: 0.8, format: 0.2, tool_bonus: 1.2}", [LOOK, RIGHT], 2.2),
        ("{answer: 1, ngrams: 2}", ["x y x y x y x y"], -2 / 3),
        ("{answer: 1, ngrams: 2}", [tool(crop(0, 0, 140, 98), "x y " * 7), FAR], 0.0),  # the last counts
    ],
)
def test_totals_without_python(weights: str, replies: list[str], value: float, tmp_path: Path) -> None:
    total = weighted(f"{{total: weighted, weights: {weights}}}", tmp_path)
    assert rolled(replies, total).total == pytest.approx(value)


def test_what_is_not_public_is_refused_with_what_to_supply(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not public: how salience is weighed") as error:
        weighted('{total: null, supply: "how salience is weighed"}', tmp_path)
    assert "--set reward.total=./mine.py" in (error.value.hint or "")


def _given(value: Any, sample: Sample, context: RewardContext) -> Any:
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
        asyncio.run(rewards.score(sample(answer("5"), prompt(strict="own")), total, RewardContext()))
    assert says in refused.value.message
    assert refused.value.hint is None if hint is None else hint in (refused.value.hint or "")
