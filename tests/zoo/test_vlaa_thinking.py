"""The reward of VLAA-Thinking by hand: its program is not published, so nothing else can be held against it."""

import asyncio

import pytest

from virc.core.errors import DataError
from virc.data.rows.record import Message, Record
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.context import RewardContext
from virc.rewards.sample import Prompt, sample


def scored(row: str, answer: str, reply: str) -> rollouts.Rollout:
    """What a rollout of one reply is worth."""
    record = Record((Message("user", "?"),), id=row, question="?", answer=answer)
    read = sample(reply, Prompt(record))
    return asyncio.run(rollouts.score([read], rollouts.ends(read), rewards.find("vlaa_thinking"), RewardContext()))


@pytest.mark.parametrize(
    ("row", "right", "said", "reward"),
    [
        ("clevr_math-CLEVR_train_027977.png", "3", "3", 1),
        ("clevr_math-CLEVR_train_027977.png", "3", "4", 0),
        ("geoqa170k-geoqa_plus-2905-63590", "C", "(C)", 1),
        ("synthesis-2", "y = 5", "5", 1),
        ("vg-1.jpg", "[0.1, 0.2, 0.7, 0.5]", "[0.1, 0.2, 0.4, 0.5]", 0.5),
        ("vg-1.jpg", "[0.1, 0.2, 0.7, 0.5]", "[0.1, 0.2, 0.4, 0.5], one of 2 to 30 there", 0.5),
        ("coco/train2017/1.jpg", "[0.1, 0.2, 0.7, 0.5]", "left", 0),
    ],
)
def test_an_answer_is_rewarded_by_the_source_of_its_row(row: str, right: str, said: str, reward: float) -> None:
    assert scored(row, right, f"<think>t</think><answer>{said}</answer>").total == pytest.approx(reward)
    assert scored(row, right, said).total == 0  # without the marks of an answer


@pytest.mark.parametrize("row", ["docvqa-1", "allava-allava_laion_100760552"])
def test_open_ended_rows_have_no_reward(row: str) -> None:
    found = scored(row, "a page", "<think>t</think><answer>a page</answer>")
    assert (found.total, "needs a reward model" in found.units[0].unscored["right"]) == (None, True)


def test_a_row_of_another_source_is_refused() -> None:
    with pytest.raises(DataError, match="begins with no dataset of VLAA-Thinking"):
        scored("other-1", "3", "<think>t</think><answer>3</answer>")
