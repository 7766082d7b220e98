"""One fault of a reward."""

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One fault of a reward: what is wrong, and what to do.

    Args:
        certain: it is wrong whatever is replied; else it may be a matter of the replies that were tried.
        term: the term that it is of; None: all of the reward.
        of_row: the rows lack something.
    """

    message: str
    hint: str | None
    certain: bool
    term: str | None = None
    of_row: bool = False
