"""The reward of SSL4RL by where a row is from, which a converted row has in another column than a published one."""

import asyncio
from collections.abc import Mapping

import pytest

from virc.core.errors import DataError
from virc.data.rows.record import Message, Record
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.means import Means
from virc.rewards.sample import Prompt, sample


def reward_of(columns: Mapping[str, str]) -> float | None:
    """Of a reply that has two of four pieces in their places, which is no right answer to another question."""
    record = Record((Message("user", "?"),), question="?", answer="3,1,2,4", extra=columns)
    read = sample("<think>t</think><answer>3,2,1,4</answer>", Prompt(record))
    return asyncio.run(rollouts.score([read], rollouts.ends(read), rewards.find("ssl4rl"), Means())).total


@pytest.mark.parametrize(
    ("columns", "reward"),
    [
        ({"data_source": "datasets/MMBench_JigsawQA_2x2"}, 0.5),
        ({"data_source": "ssl4rl", "published_data_source": "datasets/MMBench_JigsawQA_2x2"}, 0.5),
        ({"data_source": "ssl4rl", "published_data_source": "datasets/MMBench_PositionQA"}, 0),
    ],
)
def test_pieces_in_their_places_count_in_jigsaws_alone(columns: dict[str, str], reward: float) -> None:
    assert reward_of(columns) == reward


def test_a_row_of_no_published_task_is_refused() -> None:
    with pytest.raises(DataError, match="'MMBench' names no task of SSL4RL"):
        reward_of({"data_source": "MMBench"})
