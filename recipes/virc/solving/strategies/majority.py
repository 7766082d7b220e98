"""The most frequent of several answers; no more are drawn once the leader cannot be overtaken.

Answers that scoring finds to say the same are one vote. Of two as frequent, the earlier is given.

Published as self-consistency (Wang et al. 2022, arXiv 2203.11171), which draws 40 answers at temperature 0.7. Stopping
early is from adaptive consistency (Aggarwal et al. 2023, arXiv 2305.11860), which stops once the leader is likely
enough to win; here it stops only if the winner is certain, so that the answer is that of all samples.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from virc.solving.asking import Asking
from virc.solving.one import Solved
from virc.solving.votes import Tally


class Options(msgspec.Struct, frozen=True):
    """Options.

    Args:
        n: answers, at most.
        early: whether drawing stops once the vote is decided.
    """

    n: Annotated[int, Meta(ge=1, le=1000)] = 8
    early: Literal["yes", "no"] = "yes"


def samples(options: Options) -> int:
    return options.n


def solve(asking: Asking, options: Options) -> Solved:
    def decided(votes: Tally, left: int) -> bool:
        return options.early == "yes" and votes.is_decided(left)

    return asking.by_vote(decided)
