"""What a terminal shows of an evaluation: each line by hand, for what has one item, several, or too many."""

import msgspec
from support.evaluations import outcomes, summary_of

from virc.evaluation.pages.figures import UNREAD
from virc.evaluation.seeds import Seeds
from virc.evaluation.summary import Summary, share
from virc_cli.console.evaluated import lines

UNEVEN = outcomes(*["rw"] * 10, "wr", "rr")


def printed(summary: Summary) -> list[str]:
    return list(lines(summary))


def cells(found: list[str], head: str) -> list[list[str]]:
    """The rows of the table whose head begins with these words."""
    start = next(at for at, line in enumerate(found) if line.split()[:2] == head.split())
    return [line.split() for line in found[start + 1 : [*found, ""].index("", start)]]


def test_a_model_is_a_row_of_counts_and_means() -> None:
    summary = summary_of(outcomes("rf", "wf", "nf", "uf", "ff", "ff"), "one", "other")
    found = printed(summary)
    assert found[0] == "mathvista: 6 problems"
    row, other, *_ = cells(found, "model right")
    assert row[:4] == ["one", "25.0%", "to", "50.0%"]
    assert row[-11:] == ["4", "1", "0", "1", "2", "2.5", "1.5", "3.0", "900", "80", "1.38"]
    assert (other[:2], other[5:]) == (["other", "-"], ["0", "0", "0", "0", "6", *"------"])
    assert not [line for line in found if "evidence seen" in line or "mean IoU" in line or line.startswith("metric")]
    assert UNREAD not in found
    unread = [summary.models[0], msgspec.structs.replace(summary.models[1], unread=share([True, False]))]
    found = printed(msgspec.structs.replace(summary, models=unread, crop_ablation="blank"))
    assert (found[0], UNREAD in found) == ("mathvista: 6 problems, crop ablation: blank", True)


def test_seeds_stand_with_their_spread() -> None:
    seeds = [Seeds("one", {0: 0.5, 1: 0.7}, 0.6, 0.1414, (0.4, 0.8)), Seeds("two", {0: 1, 1: 1, 2: 1}, 1, 0, None)]
    found = printed(msgspec.structs.replace(summary_of(UNEVEN, "one"), seeds=seeds))
    spread = found.index("one, mean of 2 seeds: 60.0% (95 %: 40.0% to 80.0%), standard deviation 14.1 points")
    assert found[spread + 1] == "two, mean of 3 seeds: 100.0%, standard deviation 0.0 points"
