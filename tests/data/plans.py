"""Whether a drawn solution begins with a plan."""

import re

_PLAN = re.compile(r"I need (?!angle .\. )")  # which angle is needed, every reply says


def planned(reply: str) -> bool:
    """Whether a reply says, beside which angle is needed, how that is to be found."""
    return bool(_PLAN.search(reply))
