"""What becomes of rollouts: pairs and their order, counts of a ledger, the rows that are published of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.solving import answer

from virc.data.sample.dataset import Location
from virc.data.sample.pairing import Pairing, paired
from virc.data.sample.rollouts import Rollout, SampledProblem, end_of
from virc.data.sample.rules import PairRule
from virc.reasoning.protocol import own_protocol
from virc.reasoning.session import Reply, Session
from virc.scoring.score import Key
from virc.solving.one import Attempt
from virc.solving.rows import ProblemRow
from virc.tools import registry as tools

PROTOCOL = own_protocol(tools.schemas(tools.DEFAULT))
KEY = Key("97")
PROBLEM = SampledProblem(ProblemRow(1, "a", question="Which?", passed={"question": "Which?", "level": 3}), KEY)
RIGHT, WRONG = answer("97"), answer("98")


def rollout(number: int, *replies: str, end: str | None = None, shade: str = "red") -> Rollout:
    """A rollout of these replies on a picture of that colour."""
    session = Session(PROTOCOL, "Which?", [Image.new("RGB", (112, 84), shade)], tolerate=(), tools=tools.known())
    for reply in replies:
        session.next()
        session.feed(Reply(reply))
    trace = session.trace()
    return Rollout(number, Attempt(trace, tuple(session.images)), end or end_of(trace, PROBLEM))


def pairs(
    rule: PairRule, rollouts: Sequence[Rollout], to: Path, keep: int = 9, problem: SampledProblem = PROBLEM,
    **given: Any,
) -> tuple[list[dict[str, Any]], dict[str, int]]:  # fmt: skip
    """The rows of the pairs, and why others are none."""
    location = Location(to / "out", "pairs", paired=True)
    location.folder.mkdir()
    found = paired(Pairing(rule, **given), keep, problem, rollouts, location)
    return found.rows, {kind: count for kind, count in found.left_out.items() if count}


def sides(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str, float]]:
    return [(row["chosen"]["content"], row["rejected"]["content"], row["margin"]) for row in rows]


@pytest.mark.parametrize(
    ("rule", "replies", "given", "found"),
    [
("right", [[RIGHT], [WRONG]], {}, [(RIGHT, WRONG, 1.0)]),
("right", [[RIGHT], [WRONG], [WRONG]], {}, [(RIGHT, WRONG, 1.0)]),
],
)  # fmt: skip
def test_the_better_reply_comes_first(
    rule: PairRule, replies: list[list[str]], given: dict[str, Any], found: list[tuple[str, str, float]], tmp_path: Path
) -> None:
    rows, _ = pairs(rule, [rollout(at, *each) for at, each in enumerate(replies, 1)], tmp_path, **given)
    assert sides(rows) == [(better, worse, round(margin, 6)) for better, worse, margin in found]
    assert [row["id"] for row in rows] == [f"a-{at}" for at in range(1, len(rows) + 1)]
