"""Whether a drawn solution begins with a plan."""

import re

_PLAN = re.compile(r"I need (?!angle .\. )")  # which angle is needed, every reply says


def planned(reply: str) -> bool:
    """Whether the first reply says what it is going to look at."""
    return bool(_PLAN.search(reply))
