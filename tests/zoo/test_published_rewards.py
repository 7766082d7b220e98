"""Rows that rewards of published systems refuse."""

import asyncio

import pytest

from virc.core.errors import DataError
from virc.data.rows.record import Message, Record
from virc.rewards.context import RewardContext
from virc.rewards.sample import Prompt, sample
from virc_zoo.adareasoner import adareasoner
from virc_zoo.pyvision_rl import pyvision_rl
from virc_zoo.pyvision_rl.rows import KIND
from virc_zoo.rewardmap import rewardmap
from virc_zoo.vla_r1 import vla_r1


def test_a_row_of_rewardmap_of_a_type_that_it_does_not_have_is_not_scored() -> None:
    columns = {"type": "Counting4", "difficulty_city": "easy"}
    read = sample("7", Prompt(Record((Message("user", "?"),), question="?", answer="7", extra=columns)))
    with pytest.raises(DataError, match="RewardMap has no rows of the type 'Counting4'"):
        rewardmap.right(read, RewardContext())


def test_a_maze_of_adareasoner_is_not_judged() -> None:
    asked = Prompt(Record((Message("user", "?"),), question="?", answer="[['S']]", extra={"ability": "forzenlake"}))
    with pytest.raises(DataError, match="ability 'forzenlake' need tools that are not here"):
        asyncio.run(adareasoner.judged(sample("<response>L</response>", asked), RewardContext()))


def test_a_row_of_pyvision_rl_of_a_source_without_a_question_is_not_judged() -> None:
    asked = Prompt(Record((Message("user", "?"),), question="?", answer="5", extra={KIND: "vsi"}))
    with pytest.raises(DataError, match="no question to its judge for rows of 'vsi'"):
        asyncio.run(pyvision_rl.judged(sample("<answer>\n\\boxed{5}\n</answer>", asked), RewardContext()))


@pytest.mark.parametrize("answer", ["near", "5", "[]", "[[1]]", '{"x": 1}'])
def test_a_row_of_vla_r1_without_a_box_or_a_path_is_refused(answer: str) -> None:
    read = sample("<output>[[1, 2]]</output>", Prompt(Record((Message("user", "?"),), question="?", answer=answer)))
    with pytest.raises(DataError, match="neither a box nor a path"):
        vla_r1.path(read, RewardContext())
