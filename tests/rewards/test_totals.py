"""Totals of published systems on rollouts and groups, each value computed by hand."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rewards.prompts import answer, crop, prompt, tool
from support.servers import Body, serve

from virc.core.errors import ConfigError
from virc.reasoning.trace import Ended
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.means import Means, means_of
from virc.rewards.registry import Total
from virc.rewards.rollouts import Known, Last
from virc.rewards.sample import sample
from virc.systems import registry as systems
from virc.systems.registry import Judging, Reward
from virc.training.system_check import check

LOOK, FAR, WIDE = (
    tool(crop(0, 0, side, 98), think) for side, think in ((140, "short"), (70, "look there"), (280, "x"))
)
RIGHT, WRONG = answer("5", "AB is 5 cm long"), answer("6", "AB is 6 cm long")
SIZES = ((280, 196), (140, 112), (84, 112))


def rolled(replies: Sequence[str], total: Total | str, means: Means | None = None, **columns: Any) -> rollouts.Rollout:
    """The reward of a rollout, each reply of it after those before."""
    samples = [
        sample(reply, prompt(SIZES[: at + 1], before=replies[:at], strict="own", **columns))
        for at, reply in enumerate(replies)
    ]
    found = rewards.find(total) if isinstance(total, str) else total
    return asyncio.run(rollouts.score(samples, rollouts.ends(samples[-1]), found, means or Means()))


def test_a_judge_is_asked_once_for_two_terms(tmp_path: Path) -> None:
    def says(body: Body) -> str:
        return r"\boxed{1}"

    file = tmp_path / "mine.py"
    file.write_text("TERMS = ('answer', 'tool_bonus')\ndef total(t): return (t.answer or 0) + (t.tool_bonus or 0)\n")
    with serve(says) as server:
        means = means_of(Judging(server.url), None, None, lambda said: None)
        total = rewards.find(str(file))
        found = rolled([LOOK, answer("five")], total, msgspec.structs.replace(means, symbolic=None))
        means.close()
        assert found.units[-1].total == 2.0
        assert len(server.chats()) == 1


def last(calls: int, ended: Ended = "answer") -> Last:
    return Last(Known("answer", {"called": float(calls > 0)}, {}, ended, calls + 1, calls))


def test_a_group_sees_what_rollouts_were() -> None:
    found = rolled([LOOK, FAR, RIGHT], "pixel_reasoner")
    assert (found.total, found.last.tool_calls, found.last.turns, found.last.ended) == (1.0, 2, 3, "answer")
    cut = rolled([LOOK, FAR], "pixel_reasoner")
    assert (cut.total, cut.last.tool_calls, cut.last.turns, cut.last.ended) == (0.0, 2, 2, "length")
    again = msgspec.json.decode(msgspec.json.encode(found.last.known), type=Known)
    assert Last(again).answer == 1.0


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
    assert check(tmp_path / "s.yaml") == []


def test_the_action_log_holds_calls_faults_and_what_was_shown() -> None:
    bad = tool(crop(0, 0, 9, 9, index=7))
    read = sample(bad, prompt(SIZES[:2], before=[LOOK], strict="own"))
    first, second = read.calls
    assert (first.call and first.call.box, first.fault, first.shown) == ((0, 0, 140, 98), None, (140, 112))
    assert (second.call, second.shown) == (None, None)
    assert second.tool
    assert second.tool.name == "crop_image"
    assert "7" in (second.fault or "")
    assert sample(RIGHT, prompt(SIZES[:2], before=[LOOK], strict="own")).calls == [first]
    assert Reward().weights == {}
