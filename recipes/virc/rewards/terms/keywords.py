"""The share of the row's keywords that the reply names, in capitals or not, 0 to 1.

Of the row: `keywords`, a list of texts. Source: cythu/PeBR-R1, examples/reward_function/pebr_1.py, key_word_reward,
which has 0 for a row whose list is empty; so has this.
"""

from typing import TYPE_CHECKING

from virc.core.errors import DataError
from virc.rewards.means import UnscoredError

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

NAME = "keywords"


def score(sample: "Sample", means: "Means") -> float:
    """The share."""
    wanted = sample.prompt.columns.get("keywords")
    if wanted is None:
        raise UnscoredError("the row has no keywords")
    if not isinstance(wanted, list) or not all(isinstance(each, str) for each in wanted):
        raise DataError("the row's keywords are no list of texts")
    said = sample.text.casefold()
    return sum(each.casefold() in said for each in wanted) / max(1, len(wanted))
