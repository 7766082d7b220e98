"""The rewards of every system against what the published programs gave for at most 40 cases each.

`tests/support/published_rewards.py` has the fields of a file. A case on which ours is known to differ is listed in it,
with the reason, and has to differ.
"""

import pytest
from support import published_rewards

from virc.stages import resolve as stages
from virc.systems import registry as systems
from virc.systems import texts

HAS_NO_PROGRAM = {"tiny", "code-as-thought", "grip", "rrvf", "skywork-r1v3", "star-r1", "vlaa-thinking"}
"""Systems of which nobody published a function that rewards: `assumed` of their YAML has it, or it is our own."""


@pytest.mark.parametrize("name", published_rewards.FILES)
def test_rewards_are_those_of_the_published_program(name: str) -> None:
    compared = published_rewards.compare(name)
    file = compared.file
    assert {at: why for at, why in compared.differing.items() if at not in file.listed} == {}
    # with our own words it is not compared what a judge is asked, in which alone a case may differ
    own = texts.is_own_wording(systems.get(file.system).file.parent)
    assert own or file.listed == {*compared.differing}, "a listed case differs no longer"
    for term, (least, most) in file.terms.items():
        values, middle = compared.values[term], (least + most) / 2
        assert min(sum(value > middle for value in values), sum(value < middle for value in values)) >= 4, term


def test_every_reward_of_a_supported_system_has_cases() -> None:
    compared = {(file.system, file.stage) for file in map(published_rewards.read, published_rewards.FILES)}
    rewards = {
        (name, stage): stages.resolve(system, stage).config.reward
        for name, system in systems.discover().items()
        for stage, each in system.stages.items()
        if system.support in ("works", "reconstructed") and each.kind == "rl" and name not in HAS_NO_PROGRAM
    }
    same = {each for each, reward in rewards.items() if any(rewards.get(one) == reward for one in compared)}
    assert {(name, stage) for name, stage in rewards.keys() - same if (name, None) not in compared} == set()
