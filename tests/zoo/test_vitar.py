"""The reward of ViTAR, reply by reply."""

import time

import pytest

from virc.data.rows.record import Message, Record
from virc.rewards.means import Means
from virc.rewards.sample import Prompt, Sample, sample
from virc_zoo.vitar import vitar as reward


def read(reply: str) -> Sample:
    return sample(reply, Prompt(Record((Message("user", "?"),), id="1", question="?", answer=" Left_lung")))


def boxed(boxes: str) -> str:
    return f'{{"thought": "t", "actions": [{{"name": "mark_bbox", "arguments": {{"box": {boxes}}}}}]}}'


def ended(arguments: str) -> str:
    return f'{{"thought": "t", "actions": [{{"name": "Terminate", "arguments": {{{arguments}}}}}]}}'


@pytest.mark.parametrize(
    ("reply", "acted", "right"),
    [
        (ended('"answer": "left lung"'), 1, 1),
        (ended('"answer": "LEFTLUNG "'), 1, 1),
        (ended('"answer": "lung"'), 1, 0),
        (ended('"answer": ""'), 0, 0),
        (ended('"ans": "left lung"'), 0, 0),
        (ended('"ans": "a", "answer": "left lung"'), 1, 1),
        (ended('"answer": ""') + ended('"answer": "left lung"'), 1, 1),
        ("So " + ended('"answer": "left lung"')[:-4], 1, 1),
        (boxed("[[1, 2, 3, 4]]"), 1, 0),
        (boxed("[[1, 2, 3, 4], [5, 6, 7, 8.5]]"), 1, 0),
        (boxed("[]"), 1, 0),
        (boxed("[[1, 2, 3, 4], [5, 6, 5, 8]]"), 0, 0),
        (boxed("[[1, 2, 3, 2]]"), 0, 0),
        (boxed("[1, 2, 3, 4]"), 0, 0),
        (boxed("[[1, 2, 3]]"), 0, 0),
        (boxed("7"), 0, 0),
        (boxed("[[1, 2, null, 4]]"), 0, 0),
        ("left lung", 0, 0),
        ('"actions": []', 0, 0),
        (ended('"ans": "a"') + ' "answer": "left lung"', 0, 0),
    ],
)
def test_a_reply_acts_and_is_right(reply: str, acted: float, right: float) -> None:
    assert (reward.acted(read(reply), Means()), reward.right(read(reply), Means())) == (acted, right)


def test_a_rollout_is_worth_what_its_replies_are_together() -> None:
    assert reward.whole([0.2, 1.2], None) == pytest.approx(1.4)


def test_many_ends_without_an_answer_are_read_soon() -> None:
    started = time.process_time()
    assert reward.answered('{"name":"Terminate","arguments":{"answer":"' * 2000) == "{"
    assert reward.answered('{"name":"Terminate","arguments":{' * 3000) is None
    assert time.process_time() - started < 5
