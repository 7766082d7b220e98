"""The published reward of ViRC, case by case, through a real judge behind a server; and the rewards of every system
against what the published programs gave, see `support/published_rewards.py`.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rewards.prompts import prompt
from rewards.published_cases import CASES, Case
from support import published_rewards, tested
from support.published_rewards import Compared
from support.servers import Body, Server, images_of, serve

from virc.rewards import registry as rewards
from virc.rewards.judging import Judge
from virc.rewards.means import Means
from virc.rewards.published import QUIRKS
from virc.rewards.sample import sample
from virc.systems import registry as systems
from virc.systems import texts

FEW = 12
"""Values of a term that are all seen in the default run; of a measure there are hundreds."""
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


def assert_as_published(compared: Compared) -> None:
    """Our rewards are those of the published program, but for the cases that are listed, each of which differs."""
    listed = compared.file.listed & {*compared.counted}
    assert {at: why for at, why in compared.differing.items() if at not in listed} == {}
    # with our own words it is not compared what a judge is asked, in which alone a case may differ
    own = texts.is_own_wording(systems.get(compared.file.system).file.parent)
    assert own or listed == set(compared.differing), "a listed case differs no longer"


@pytest.mark.parametrize("name", published_rewards.NAMES)
def test_recorded_rewards_of_published_programs_are_ours(name: str) -> None:
    """Of a part of the cases; where it is recorded, of all."""
    compared = published_rewards.compare(name, all_cases=tested.records())
    assert_as_published(compared)
    file = compared.file
    counts = [len(case.rollouts) for case in file.cases]
    assert sum(counts) >= 400
    for stage in tested.stages_of(file) if tested.records() else ():
        tested.compared(file.system, stage, sum(counts), sum(counts[at] for at in file.listed))


@pytest.mark.integration
@pytest.mark.parametrize("name", published_rewards.NAMES)
def test_all_recorded_rewards_are_ours_and_see_every_term_high_and_low(name: str) -> None:
    compared = published_rewards.compare(name)
    assert_as_published(compared)
    part = published_rewards.compare(name, all_cases=False)
    for term, (least, most) in compared.file.terms.items():
        values, middle = compared.values[term], (least + most) / 2
        assert min(sum(value > middle for value in values), sum(value < middle for value in values)) >= 20, term
        if len(set(values)) <= FEW:
            assert {*part.values[term]} == {*values}, f"the default run sees not all that {term} can be"


ROUTE = """Route Name: Line 2\nDeparture Stop: West Gate\nArrival Stop: Airport
--\nRoute Name: 地铁 7号线\nDeparture Stop: Airport\nArrival Stop: Harbour
--\nRoute Name: Line 4\nDeparture Stop: Harbour\nArrival Stop: Old Town\n"""
CHANGES = {"type": "planning", "difficulty_city": "easy", "station_1": "West-Gate", "station_2": "Old Town"}
ASKED_TWICE = """```json\n{"%s": 1}\n``` and not\n```json\n{"%s": 0}\n```"""
REPLY = ["<think>So.</think>\n<answer>4</answer>"]
UNSURE = {"consistent": ["?", "?", "?"]}
BY_HAND = {
    # min(2 + 3 lines * 3 + 2 changes, 10) / 2, and 10 as it is right; (1 + 0.5) by the city and the changes
    "a route of three lines": ("rewardmap", [ROUTE], {**CHANGES, "question_transfer_count": 3}, {}, 22.5),
    # the first two legs are within one change, the third costs 5: (2 + 3 * 3 + 1 - 2 * 5) / 2, and 10
    "a route of three lines for two": ("rewardmap", [ROUTE], {**CHANGES, "question_transfer_count": 1}, {}, 16.5),
    # with more than one fence the program reads the first object of the whole reply
    "two fences of a judge": ("v-thinker", REPLY, {}, {"right": [ASKED_TWICE % (("Correctness",) * 2)], **UNSURE}, 1.5),
    "two fences about a thought": (
        "thyme",
        REPLY,
        {},
        {"right": ['{"Correctness": 1}'], "consistent": [ASKED_TWICE % (("Consistency",) * 2)]},
        2.0,
    ),
}


@pytest.mark.parametrize(("name", "turns", "columns", "said", "reward"), BY_HAND.values(), ids=BY_HAND)
def test_what_no_recorded_case_sees_is_counted_by_hand(
    name: str, turns: list[str], columns: dict[str, Any], said: dict[str, list[str]], reward: float
) -> None:
    published = published_rewards.Published(turns, reward, said)
    columns = {**published_rewards.read(name).columns, **columns}
    assert published_rewards.differs(name, published_rewards.Case([published], columns=columns)) is None


def test_recorded_cases_of_virc_see_every_kind_of_reward() -> None:
    seen = {str(each.reward) for case in published_rewards.read("virc").cases for each in case.rollouts}
    assert {"-1.0", "0.6", "0.7", "0.8", "KeyError", "ValueError", "IndexError"} <= seen
