"""Whether the answer is the right number: 1 or 0; of replies that answer only.

Of the row: `tolerance`, the share of the right number by which another may be off, or `decimals` to round both to;
without them the numbers are equal. A text that is no number has no point.
Source: the number rewards of Video-R1 and VLAA-Thinking; the two columns are those of `virc solve` (see `scoring.Key`).
"""

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

from virc.rewards.means import UnscoredError
from virc.scoring.score import Key, relative_error
from virc.scoring.score import score as by_rule

NAME = "number"


def score(sample: "Sample", means: "Means") -> float | None:
    """1 where it is within what the row allows."""
    if sample.answer is None:
        return None
    if off_by(sample.answer, sample.prompt.key) is None:
        sample.why[NAME] = "the answer is no number"
        return 0.0
    return float(by_rule(sample.answer, sample.prompt.key).right)


def off_by(answer: str, key: Key) -> Fraction | None:
    """The share of the right number by which an answer is off; None where the answer is no number.

    Raises:
        UnscoredError: the right answer is none.
    """
    if relative_error(key.answer, key) is None:
        raise UnscoredError("the right answer is no number")
    return relative_error(answer, key)
