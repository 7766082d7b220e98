"""Whether the reply is in the format and its tool call can be carried out: 1 or 0.

Source: the published reward gives -1 to what is not; `strict` says whose checks decide.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

NAME = "format"


def score(sample: "Sample", means: "Means") -> float:
    """1 where the reply is taken."""
    if sample.fault:
        sample.why[NAME] = sample.fault
    return 0.0 if sample.fault else 1.0
