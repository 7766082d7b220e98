"""How much the thought before a tool call is that of the row's reference: ROUGE-L as an F1, 0 to 1; without a judge.

Words are those of `rouge`. Of tool calls only, where the row has a reference; where that answers, there is nothing to
look at, and no thought of looking has a point. Source: Lin, ROUGE (2004), section 3.1.
"""

from typing import TYPE_CHECKING

from virc.rewards.sample import sample as read
from virc.rewards.terms.rouge import rouge_l

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

NAME = "thought"


def score(sample: "Sample", means: "Means") -> float | None:
    """The F1; 0 where the reference calls no tool."""
    if sample.kind != "tool" or sample.turn is None or not sample.prompt.reference:
        return None
    wanted = read(sample.prompt.reference, sample.prompt).turn
    return rouge_l(sample.turn.think, wanted.think) if wanted and wanted.tool else 0.0
