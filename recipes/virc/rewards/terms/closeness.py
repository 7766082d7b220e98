"""How near a number is to the right one: 1 within 5 %, 0 beyond 20 %, half a cosine between; of answers only.

Source: tanhuajie/Reason-RFT, train/stage_rl/reward.py, math_accuracy_reward. There a right number of 0 has no point for
any answer, as its 5 % are nothing; here 0 has the point.
"""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

from virc.rewards.terms.number import off_by

NAME = "closeness"
_FULL, _NONE = 0.05, 0.20


def score(sample: "Sample", means: "Means") -> float | None:
    """From 0 to 1."""
    if sample.answer is None:
        return None
    error = off_by(sample.answer, sample.prompt.key)
    if error is None or error >= _NONE:
        return 0.0
    if error <= _FULL:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (error - _FULL) / (_NONE - _FULL)))
