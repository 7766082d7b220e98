"""What teaches to compare: verdicts on readings, as text, and nothing else of it is learnt."""

import random
import re

import pytest

from tiny import curriculum, loop
from tiny.encode import IGNORE, encode
from virc.models.registry import PACKAGE


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
