"""The reward of Reason-RFT for changes of objects: the share of functions that are right, and the format. 0 to 2.

As `reason_rft_partial`, with FULL: only functions with both arguments right count.
Source: tanhuajie/Reason-RFT@d0a8070, train/stage_rl/reward.py, only_full_func_accuracy_reward: trance-only-full.
"""

from virc_zoo.reason_rft.reason_rft_partial import TERMS, framed, total, whole, worth
from virc_zoo.structure import FULL

__all__ = ("TERMS", "framed", "functions", "total", "whole")
functions = worth(FULL)
