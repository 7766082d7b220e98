"""Mean relative accuracy of a number: the share of ten thresholds that its relative error stays within, 0 to 1.

The thresholds are 0.5, 0.55 to 0.95; of one, c, the error is under 1 - c. Of replies that answer only.
Source: Yang et al., Thinking in Space (arXiv:2412.14171), section 3.1, as ViLaSR rewards numbers with it
(AntResearchNLP/ViLaSR, verl/utils/reward_score/gcot.py).
"""

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

from virc.rewards.terms.number import off_by

NAME = "relative_accuracy"
_ALLOWED = [Fraction(steps, 20) for steps in range(1, 11)]


def score(sample: "Sample", means: "Means") -> float | None:
    """The share of thresholds."""
    if sample.answer is None:
        return None
    error = off_by(sample.answer, sample.prompt.key)
    return 0.0 if error is None else sum(error < allowed for allowed in _ALLOWED) / len(_ALLOWED)
