"""What a terminal shows of columns, each line by hand."""

from typing import Any

import msgspec
from support.evaluations import outcomes, summary_of

from virc.evaluation.columns import Column
from virc.evaluation.summary import Summary, score
from virc_cli.console.evaluated import lines
from virc_extras.studies.against import Against, Reported
from virc_extras.studies.boxes import Boxes, BoxScores
from virc_extras.studies.contamination import Contamination, SharedPicture, Trained
from virc_extras.studies.environment_rewards import RewardGap, RewardMean
from virc_extras.studies.environments import Rewards

UNEVEN = outcomes(*["rw"] * 10, "wr", "rr")


def printed(summary: Summary, *columns: Column, **figures: Any) -> list[str]:
    return list(lines(msgspec.structs.replace(summary, columns=figures), columns))


def cells(found: list[str], head: str) -> list[list[str]]:
    """The rows of the table whose head begins with these words."""
    start = next(at for at, line in enumerate(found) if line.split()[:2] == head.split())
    return [line.split() for line in found[start + 1 : [*found, ""].index("", start)]]


def test_rewards_and_boxes_have_their_means_and_pairs_their_difference() -> None:
    summary = summary_of(UNEVEN, "one", "other")
    means = {"total": RewardMean(0.5, (0.25, 0.75), 4), "near": RewardMean(1.0, None, 1)}
    boxes = BoxScores(3, 0.5, 0.25, 0.44, None)
    one, other = summary.models
    models = [
        msgspec.structs.replace(one, columns={"reward": means, "boxes": boxes}),
        msgspec.structs.replace(other, columns={"reward": {}, "boxes": None}),
    ]
    gaps = {"total": RewardGap(0.5, (0.1, 0.9), 4), "near": RewardGap(0.0, None, 1)}
    pairs = [msgspec.structs.replace(summary.pairs[0], columns={"reward": gaps})]
    found = printed(msgspec.structs.replace(summary, models=models, pairs=pairs), Boxes(), Rewards(None))
    rows = [["total", "one", "0.500", "0.250", "to", "0.750", "4"], ["near", "one", "1.000", "-", "1"]]
    assert cells(found, "reward model") == rows
    start = found.index("one minus other in the reward")
    assert [" ".join(line.split()) for line in found[start + 1 : start + 3]] == [
        "total +0.500 (+0.100 to +0.900) on 4 problems", "near +0.000 on 1 problems",
    ]  # fmt: skip
    assert cells(found, "model mean") == [["one", "0.500", "0.250", "44.0%", "-", "3"]]


def test_pictures_that_were_trained_on_are_listed_and_taken_out() -> None:
    shared = [SharedPicture(at, 10 + at, at == 1) for at in range(1, 10)]
    summary = summary_of(UNEVEN, "one")
    contaminated = Contamination("train.jsonl", 40, 3, shared, {"one": score([True, False])})
    found = printed(summary, Trained(None), contamination=contaminated)
    start = found.index("train.jsonl: 40 rows of training, 3 without a picture that can be read")
    assert found[start + 1] == "  problems with nearly a picture of theirs: 9, 1 with the question too"
    assert found[start + 2 : start + 4] == ["  problem 1: row 11, the question too", "  problem 2: row 12"]
    assert found[start + 9 : start + 12] == [
        "  problem 8: row 18", "  one without these: 50.0% of 2 (95 %: 9.5 to 90.5)", "",
    ]  # fmt: skip
    clean = msgspec.structs.replace(contaminated, unread=0, shared=[])
    found = printed(summary, Trained(None), contamination=clean)
    assert "train.jsonl: 40 rows of training" in found
    assert not [line for line in found if "without these" in line]


def test_published_figures_stand_with_what_differs() -> None:
    summary = summary_of(UNEVEN, "one")
    ours = summary.models[0].score
    against = [
        Reported("one", "7b", "table 1", 0.745, ours, {"max_pixels": (1, None), "samples": (8, 1)}),
        Reported("one", "3b", "table 2", None, ours, {}),
        Reported("two", "3b", "table 2", 0.6, score([True, None]), {}),
    ]
    found = printed(summary, Against(True), against=against)
    assert [line for line in found if "table" in line or " here" in line] == [
        "one: 91.7% (64.6 to 98.5); 7b: 74.5%, table 1",
        "  max_pixels: 1 there, None here",
        "  samples: 8 there, 1 here",
        "one: 91.7% (64.6 to 98.5); 3b: no figure, table 2",
        "two: 50.0% to 100.0% (9.5 to 100.0, 1 undecided); 3b: 60.0%, table 2; undecided which is higher",
    ]
