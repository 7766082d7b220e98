"""Whether the reply calls the tool that the reference calls: 1 or 0; of tool calls only.

Source: the published reward. Where the reference answers, no call has the point.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

NAME = "tool_choice"


def score(sample: "Sample", means: "Means") -> float | None:
    """1 where the names are the same."""
    if sample.kind != "tool" or sample.call is None:
        return None
    wanted = sample.prompt.reference_tool
    sample.why[NAME] = f"the reference calls {wanted}" if wanted else "the reference calls no tool"
    return float(sample.call.name == wanted)
