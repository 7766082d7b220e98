"""The reward of Reason-RFT for changes of objects, with a price on functions that are right in part. -0.5 to 2.

As `reason_rft_partial`, with PENALTY: a function with one right argument costs a quarter, the function alone a half.
Source: tanhuajie/Reason-RFT@d0a8070, train/stage_rl/reward.py, penalty_func_accuracy_reward: the task trance-penalty.
"""

from virc_zoo.reason_rft.reason_rft_partial import TERMS, framed, total, whole, worth
from virc_zoo.structure import PENALTY

__all__ = ("TERMS", "framed", "functions", "total", "whole")
functions = worth(PENALTY)
