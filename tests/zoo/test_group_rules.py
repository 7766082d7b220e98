"""Rules that rewrite the rewards of a group: by hand, as published, and as a system's YAML names them."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from virc.core.errors import ConfigError
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.rollouts import Known, Last
from virc.stages.rl import Config, contradictions
from virc.systems import registry as systems
from virc.systems.registry import Reward
from virc_extras.authoring.system_check import system_faults
from virc_zoo.group_rules import RULES

PUBLISHED = json.loads(Path(__file__).with_name("groups.json").read_text())["cases"]


def last(answer: str | None, reply: str = "") -> Last:
    return Last(Known("answer", {}, {}, "answer", 1, 0, answer, reply))


def by(
    rule: str, values: Sequence[float], answers: Sequence[str | None] = (), replies: Sequence[str] = ()
) -> list[float]:
    answers, replies = answers or [None] * len(values), replies or [""] * len(values)
    return RULES[rule](values, [last(*each) for each in zip(answers, replies, strict=True)])


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        ("reward", [1, -1, 0.5], [1, -1, 0.5]),
        ("over_mean", [1, 0, 0, 0], [4, 0, 0, 0]),  # a quarter on average
        ("over_mean", [0.5, 1.5], [0.5, 1.5]),
        ("over_mean", [0, 0], [0, 0]),
        ("over_mean", [-1, 0.5], [0, 0]),
        ("middle", [1, 0, 0, 0], [1, 0, 0, 0]),
        ("middle", [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]),  # a fifth is too few, four fifths are too many
        ("middle", [1, 1, 1, 1, 0], [0, 0, 0, 0, 0]),
        ("middle", [1], [1]),
    ],
)
def test_rules_of_rewards_by_hand(rule: str, before: list[float], after: list[float]) -> None:
    assert by(rule, before) == pytest.approx(after)


def test_rules_give_what_the_published_programs_give() -> None:
    """Their ranks are 4 times ours less 2, and what is distinct is worth at least 0.1 there."""
    assert len(PUBLISHED) == 420
    for case in PUBLISHED:
        found = {
            rule: by(rule, case["rewards"], case["answers"], case["replies"])
            for rule in ("rank", "distinct", "majority", "over_likeness")
        }
        assert [4 * each - 2 for each in found["rank"]] == pytest.approx(case["rank"], abs=1e-5)
        assert [max(each, 0.1) for each in found["distinct"]] == pytest.approx(case["distinct"])
        assert found["majority"] == case["majority"]
        assert found["over_likeness"] == pytest.approx(case["over_likeness"], abs=1e-5)


def test_a_system_adds_rules_up_by_weights(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "name: s\nreward: {total: weighted, weights: {answer: 1}, group: {reward: 1, distinct: 0.3, rank: 2}}\n"
    )
    assert system_faults(tmp_path / "s.yaml") == []
    reward = systems.get(str(tmp_path / "s.yaml")).reward
    assert reward
    found = rollouts.grouped(rewards.of(reward), [1.0, 0.0, 0.0], [last("5"), last("7"), last("7")])
    assert found == pytest.approx([1 + 0.3 + 2, 0.15 + 0.5, 0.15 + 0.5])


def test_groups_that_make_no_sense_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("name: s\nreward: {total: outcome, group: {rnak: 1}}\n")
    (found,) = system_faults(tmp_path / "s.yaml")
    assert (found.message, found.hint) == ("there is no rule 'rnak' for groups", "did you mean 'rank'?")
    with pytest.raises(ConfigError, match="the total pixel_reasoner rewrites the rewards of a group itself"):
        rewards.of(Reward("pixel_reasoner", group={"rank": 1}))
    config = Config(data="rows", reward=Reward("outcome", group={"over_mean": 1}))
    assert [setting for setting, *_ in contradictions(config)] == ["norm_adv_by_std"]
