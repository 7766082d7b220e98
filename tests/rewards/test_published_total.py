"""The published reward, case by case, through a real judge behind a server."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest
from rewards.prompts import prompt
from rewards.published_cases import CASES, Case
from support.servers import Body, Server, images_of, serve

from virc.rewards import registry as rewards
from virc.rewards.judging import Judge
from virc.rewards.means import Means
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


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_total_is_the_published_one(case: Case, script: Script, server: Server) -> None:
    script.case, script.asked = case, Counter()
    judge = Judge(server.url)
    known = prompt(case.sizes, reference_tool=case.reference_tool, coordinates=case.coordinates)
    total = rewards.find("virc")
    scored = asyncio.run(rewards.score(sample(case.reply, known), total, Means(judge)))
    judge.close()
    assert scored.total == pytest.approx(case.total, abs=1e-12), (scored, case.why)
    assert scored.terms["format"] == float(case.total >= 0), scored
    assert case.tries is None or sum(script.asked.values()) == case.tries


def test_every_quirk_has_a_case() -> None:
    assert {case.quirk for case in CASES} - {""} == set(QUIRKS)
    assert len({case.id for case in CASES}) == len(CASES) >= 60
