"""`tiny` on held-out problems: the vote of five samples is right more often than one of them."""

import json
from pathlib import Path

import pytest
from batches import read, write
from support.called import virc

from virc.evaluation.statistics import mcnemar
from virc.scoring.rules import same

pytestmark = pytest.mark.integration

COUNT = 100


def test_the_vote_of_five_samples_beats_one(tmp_path: Path) -> None:
    words = ("--count", COUNT, "--seed", 4, "--split", "heldout", "--sides", 3, "--drawing", 1)
    assert virc("data", "synth", "--to", tmp_path / "p", *words).code == 0
    rows = [row | {"image": str(tmp_path / "p" / row["image"])} for row in read(tmp_path / "p" / "problems.jsonl")]
    source, out = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    how = ("--model", "tiny", "--strategy", "majority:n=5", "--trace", tmp_path / "t", "--quiet")
    assert virc("batch", source, "--to", out, *how).code == 0
    single = voted = only_single = only_voted = 0
    for line in read(out):
        # the first sample is what one sample alone would be: its seed does not depend on how many there are
        first = json.loads((tmp_path / "t" / line["id"] / "sample-1" / "trace.json").read_text())["answer"]
        rights = [answer is not None and same(answer, line["input"]["answer"]) for answer in (first, line["answer"])]
        single, voted = single + rights[0], voted + rights[1]
        only_single, only_voted = only_single + (rights == [True, False]), only_voted + (rights == [False, True])
    assert voted > single, (single, voted)
    assert mcnemar(only_voted, only_single) < 0.05, (only_voted, only_single)
    assert sum(line["strategy"]["samples"] for line in read(out)) < 5 * COUNT
