"""Whether the rollout looked at a region, and every tool call of it could be carried out: 1 or 0.

Source: justgogorunrun/VLM-R3, src/r1-v/src/open_r1/rgrpo.py, repeat_reward: at least one box, and each piece of JSON
that names a box is one. There a box need not lie in the image; here it must, or there is nothing to look at.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

NAME = "looked"


def score(sample: "Sample", means: "Means") -> float:
    """1 where the calls up to this reply hold a box, and none is at fault."""
    calls = sample.calls
    faults = [each.fault for each in calls if each.fault]
    if faults:
        sample.why[NAME] = faults[0]
    return float(not faults and any(each.call and each.call.box for each in calls))
