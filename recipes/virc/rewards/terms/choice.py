"""Whether the answer names the right choice, by its letter or its content: 1 or 0; of replies that answer only.

Of the row: `choices`, their contents in order; without them its `answer` is a letter, or begins with one.
Source: the multiple-choice rewards of VLM-R1, Video-R1 and others, which take the letter alone.
"""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

from virc.rewards.means import UnscoredError
from virc.scoring.score import score as by_rule

NAME = "choice"
_LETTER = re.compile(r"\(?[A-Za-z](?:[).:].*)?", re.DOTALL)


def score(sample: "Sample", means: "Means") -> float | None:
    """1 where it is the right one."""
    if sample.answer is None:
        return None
    key = sample.prompt.key
    if not key.choices and not _LETTER.fullmatch(key.answer.strip()):
        raise UnscoredError("the row has no choices, and its answer is no letter")
    return float(by_rule(sample.answer, key).right)
