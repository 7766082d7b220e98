"""The reward of GRiP by hand: its program is not published, so nothing else can be held against it."""

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rewards.prompts import answer, prompt
from support.scripted_judge import judged as judge
from support.servers import serve

from virc.core.errors import DataError
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.context import RewardContext
from virc.rewards.judging import Judge
from virc.rewards.sample import sample

SQUARE = [14, 14, 98, 98]
ELSEWHERE = [150, 110, 190, 150]
SAID = f"The square <box>{SQUARE}</box> is red."


def reward_of(reply: str, judged: str = "N", **columns: Any) -> float | None:
    known = prompt([(252, 196)], right="red", strict="own", **{"boxes": [SQUARE], **columns})
    read = sample(reply, known)
    return asyncio.run(rollouts.score([read], rollouts.ends(read), rewards.find("grip"), judge(judged))).total


@pytest.mark.parametrize(
    ("thought", "said", "judged", "columns", "reward"),
    [
        (SAID, "red", "B", {}, 1 + 1 + 1 + 1),
        (SAID, "red", "N", {}, 1 + 1 + 1),
        (SAID, "blue", "C", {}, 1 + 1 + 1),
        ("It is red.", "red", "N", {}, 1 + 1),
        (SAID * 2, "red", "N", {}, 1 + 1 + 1),  # a box that is named twice covers one of the row
        (SAID, "red", "N", {"boxes": [SQUARE, ELSEWHERE]}, 1 + 1 + 0.5),
        (SAID, "red", "N", {"boxes": [SQUARE, ELSEWHERE], "salience": [3, 1]}, 1 + 1 + 0.75),
        (SAID, "red", "N", {"boxes": None}, 1 + 1),
    ],
)
def test_boxes_are_rewarded_by_their_salience_and_thoughts_by_the_judge(
    thought: str, said: str, judged: str, columns: dict[str, Any], reward: float
) -> None:
    assert reward_of(answer(said, thought), judged, **columns) == pytest.approx(reward)


def test_no_thought_is_no_way_of_reasoning() -> None:
    assert reward_of("<answer>red</answer>", "A") == 0
    assert reward_of(answer("red", ""), "A") == reward_of(answer("red", "-"), "N") == 1 + 1


def test_half_a_character_is_judged(tmp_path: Path) -> None:
    read = sample(answer("red", "It \ud800 is."), prompt([(252, 196)], right="red", strict="own"))
    with serve(["A"]) as server, closing(Judge(server.url, kept=tmp_path)) as asked:
        found = rollouts.score([read], rollouts.ends(read), rewards.find("grip"), RewardContext(judge=asked))
        assert asyncio.run(found).total == 1 + 1 + 1
    assert "It ? is." in str(server.chats())


def test_salience_of_another_length_is_a_fault_of_the_row() -> None:
    with pytest.raises(DataError, match="salience is wrong"):
        reward_of(answer("red", SAID), salience=[1, 2])
