"""What teaches to compare: verdicts on readings, as text, and nothing else of it is learnt."""

import random
import re

import pytest

from tiny import curriculum, loop
from tiny.encode import IGNORE, encode
from virc.models.registry import PACKAGE

_VERDICT = re.compile(r"<think>(.) is \d+\. I need angle (.)\. (That is the one\.|Look at the next corner\.)")


def test_half_of_the_readings_are_the_one_that_is_needed() -> None:
    rng, found = random.Random(0), 0
    for _ in range(400):
        (thought,) = curriculum.compare(rng).messages
        told = _VERDICT.fullmatch(thought.text)
        assert told, thought.text
        read, needed, verdict = told.groups()
        assert (read == needed) is (verdict == "That is the one.")
        found += read == needed
    assert 160 < found < 240


@pytest.mark.integration
def test_half_of_the_solutions_stop_at_a_printed_angle() -> None:
    rng = random.Random(0)
    ends = [curriculum.stops(rng).messages[-1].text for _ in range(200)]
    assert 70 < sum("That is the one." in end for end in ends) < 130
    assert all("That is the one." in end or "The sum is " in end for end in ends)


@pytest.mark.parametrize("task", [curriculum.compare, curriculum.stops])
def test_only_verdicts_are_learnt(task: loop.Task) -> None:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(PACKAGE / "tiny-base")
    rng, met = random.Random(0), set[str]()
    for _ in range(20):
        example = task(rng)
        ids, labels = encode(example, tokenizer)
        learnt = [tokenizer.decode(label) for label in labels if label != IGNORE]
        said = " ".join(turn.text for turn in example.messages if turn.role == "assistant")
        assert learnt == re.findall("|".join(map(re.escape, curriculum.VERDICTS)), said)
        assert len(ids) == len(labels)
        met.update(learnt)
    assert met == set(curriculum.VERDICTS[: 2 if task is curriculum.compare else 3])
