r"""The reward of VPPO: 1 where what stands in the last \boxed{} of a reply is the right answer, else 0.

White space around <, > and / does not count; where there is no box, the answer is the word None.
Source: huaixuheqing/VPPO-RL@a23c54b, examples/reward_function/math.py, compute_score_wo_format, with mathruler 0.1.0.
What differs: an answer that mathruler takes over two seconds of CPU for, or raises at, is wrong.
"""

from typing import Any

from virc_zoo.rollouts import of_last_reply
from virc_zoo.thinklite_vl.easy_r1 import right

__all__ = ["TERMS", "right", "total", "whole"]

TERMS = ("right",)
whole = of_last_reply


def total(t: Any) -> float:
    """The reward of the reply."""
    return float(t.right)
