"""The published reward of ViRC, case by case, through a real judge behind a server; and the rewards of every system
against what the published programs gave, see `support/published_rewards.py`.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from rewards.prompts import prompt
from rewards.published_cases import CASES, Case
from support import published_rewards, tested
from support.servers import Body, Server, images_of, serve

from virc.rewards import registry as rewards
from virc.rewards.judging import Judge
from virc.rewards.means import Means
from virc.rewards.published import QUIRKS
from virc.rewards.sample import sample

PART = 6
"""Of so many recorded cases one is counted again at every change; all are in CI."""
QUESTIONS = ("answer", "reasoning", "focus")  # by the number of their images


class Script:
    """What the judge says to the case at hand: one reply after the other to each question."""

    def __init__(self) -> None:
        self.case = CASES[0]
        self.asked: Counter[str] = Counter()

    def __call__(self, body: Body) -> str:
        question = QUESTIONS[len(images_of(body))]
        self.asked[question] += 1
        return self.case.judge[question][self.asked[question] - 1]


@pytest.fixture(scope="module")
def script() -> Script:
    return Script()


@pytest.fixture(scope="module")
def server(script: Script) -> Iterator[Server]:
    with serve(script) as server:
        yield server


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_total_is_the_published_one(case: Case, script: Script, server: Server, tmp_path: Path) -> None:
    script.case, script.asked = case, Counter()
    known = prompt(case.sizes, reference_tool=case.reference_tool, coordinates=case.coordinates)
    total = rewards.find("virc")
    raises = case.quirk.startswith("raises")
    for _ in range(2):  # by replies that are drawn, and by those that were kept
        judge = Judge(server.url, kept=tmp_path)
        scored = asyncio.run(rewards.score(sample(case.reply, known), total, Means(judge)))
        judge.close()
        assert scored.total == pytest.approx(case.total, abs=1e-12), (scored, case.why)
        assert scored.terms["format"] == (None if raises else float(case.total >= 0)), scored
        assert case.tries is None or sum(script.asked.values()) == case.tries


def test_every_quirk_has_a_case() -> None:
    assert {case.quirk for case in CASES} - {""} == set(QUIRKS)
    assert len({case.id for case in CASES}) == len(CASES) >= 60


def held(compared: published_rewards.Compared, all_cases: bool) -> published_rewards.File:
    """The file, where the listed cases alone differ; all cases see every term high and low."""
    file = compared.file
    assert {at: why for at, why in compared.differing.items() if at not in file.listed} == {}
    assert file.listed == set(compared.differing), "a listed case differs no longer"
    for term, (least, most) in file.terms.items() if all_cases else ():
        values, middle = compared.values[term], (least + most) / 2
        assert min(sum(value > middle for value in values), sum(value < middle for value in values)) >= 20, term
    return file


@pytest.mark.parametrize("name", published_rewards.NAMES)
def test_recorded_rewards_of_published_programs_are_ours(name: str) -> None:
    """But for the cases that are listed, each of which differs: of all where that is recorded, else of a part."""
    part = 1 if os.environ.get("VIRC_RECORD") == "1" else PART
    file = held(published_rewards.compare(name, part), all_cases=part == 1)
    counts = [len(case.rollouts) for case in file.cases]
    assert sum(counts) >= 400
    for stage in tested.stages_of(file):
        tested.compared(file.system, stage, sum(counts), sum(counts[at] for at in file.listed))


@pytest.mark.integration
@pytest.mark.parametrize("name", published_rewards.NAMES)
def test_all_recorded_rewards_are_ours_and_see_every_term_high_and_low(name: str) -> None:
    held(published_rewards.compare(name), all_cases=True)


def test_recorded_cases_of_virc_see_every_kind_of_reward() -> None:
    seen = {str(each.reward) for case in published_rewards.read("virc").cases for each in case.rollouts}
    assert {"-1.0", "0.6", "0.7", "0.8", "KeyError", "ValueError", "IndexError"} <= seen
