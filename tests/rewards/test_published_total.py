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
from support import published_rewards
from support.servers import Body, Server, images_of, serve

from virc.rewards import registry as rewards
from virc.rewards.context import RewardContext
from virc.rewards.judging import Judge
from virc.rewards.published import QUIRKS
from virc.rewards.sample import sample

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


FAMILIES = sorted({case.id.partition("_")[0] for case in CASES})


@pytest.mark.parametrize("family", FAMILIES)
def test_the_total_is_the_published_one(family: str, script: Script, server: Server, tmp_path: Path) -> None:
    for case in CASES:
        if case.id.partition("_")[0] == family:
            assert_published(case, script, server, tmp_path / case.id)


def assert_published(case: Case, script: Script, server: Server, kept: Path) -> None:
    script.case, script.asked = case, Counter()
    known = prompt(case.sizes, reference_tool=case.reference_tool, coordinates=case.coordinates)
    total = rewards.find("virc")
    raises = case.quirk.startswith("raises")
    for _ in range(2):  # by replies that are drawn, and by those that were kept
        judge = Judge(server.url, kept=kept)
        scored = asyncio.run(rewards.score(sample(case.reply, known), total, RewardContext(judge)))
        judge.close()
        assert scored.total == pytest.approx(case.total, abs=1e-12), (scored, case.why)
        assert scored.terms["format"] == (None if raises else float(case.total >= 0)), scored
        assert case.tries is None or sum(script.asked.values()) == case.tries


def test_every_quirk_has_a_case() -> None:
    assert {case.quirk for case in CASES} - {""} == set(QUIRKS)
    assert len({case.id for case in CASES}) == len(CASES) >= 60


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


@pytest.mark.integration
@pytest.mark.parametrize(("name", "turns", "columns", "said", "reward"), BY_HAND.values(), ids=BY_HAND)
def test_what_no_recorded_case_sees_is_counted_by_hand(
    name: str, turns: list[str], columns: dict[str, Any], said: dict[str, list[str]], reward: float
) -> None:
    published = published_rewards.Published(turns, reward, said)
    columns = {**published_rewards.read(name).columns, **columns}
    assert published_rewards.differs(name, published_rewards.Case([published], columns=columns)) is None
