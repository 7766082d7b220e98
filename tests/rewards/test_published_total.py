"""The published reward, case by case, through a real judge behind a server; and against the program itself, which was
run on `published/virc.json` with a judge that always says the same (a name there: the exception that it raised).
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rewards.prompts import picture, prompt
from rewards.published_cases import CASES, Case
from support.servers import Body, Server, images_of, serve

from virc.rewards import registry as rewards
from virc.rewards.judging import Judge
from virc.rewards.means import Means
from virc.rewards.published import DIFFERENCE, QUIRKS
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


def scored_with(says: Mapping[str, float], row: Mapping[str, Any]) -> float:
    """The reward of a recorded case."""
    pictures = tuple(picture(tuple(size), turn=turn) for size, turn in zip(row["sizes"], row["turned"], strict=True))
    known = prompt(row["sizes"], reference_tool=row["reference_tool"], coordinates=row["coordinates"])
    known = msgspec.structs.replace(known, record=msgspec.structs.replace(known.record, images=pictures))
    found = sample(row["reply"], known)
    if found.raised:
        return 0.0
    if found.fault:
        return -1.0
    if found.answer is not None:
        return 0.8 * says["answer"]
    assert found.call
    chosen = float(found.call.name == row["reference_tool"])
    return 0.5 * says["reasoning"] + 0.4 * says["focus"] + 0.1 * chosen


def test_the_program_itself_gives_the_same_reward() -> None:
    recorded = json.loads((Path(__file__).parent / "published" / "virc.json").read_bytes())
    different, rewards_seen = [], Counter[str]()
    for row in recorded["cases"]:
        published = 0.0 if isinstance(row["reward"], str) else row["reward"]
        rewards_seen[str(row["reward"])] += 1
        if scored_with(recorded["judge"], row) != pytest.approx(published, abs=1e-9):
            different.append(row)
    assert len(recorded["cases"]) >= 400
    assert {"-1.0", "0.6", "0.7", "0.8", "KeyError", "ValueError", "IndexError"} <= set(rewards_seen)
    assert [row for row in different if not any(row["turned"])] == []
    assert len(different) == 10, DIFFERENCE
