"""Asking the hub again, where another try may help."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from virc.download.hub.refusals import PassingError

TRIES = 5
FIRST_WAIT = 0.5
"""Seconds before the second try; doubled each time, so that all of them take some ten seconds."""

_Result = TypeVar("_Result")


def tried(ask: Callable[[], _Result]) -> _Result:
    """What `ask` returns, asked up to `TRIES` times.

    Raises:
        PassingError: that of the last try.
        Exception: what else `ask` raises, at once.
    """
    for failures in range(TRIES - 1):
        try:
            return ask()
        except PassingError as error:
            own = FIRST_WAIT * 2**failures * random.uniform(0.5, 1)
            time.sleep(own if error.wait is None else max(own, error.wait))
    return ask()
