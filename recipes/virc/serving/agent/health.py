"""Whether the engine answers, asked once for all who want to know."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

from virc.core.limits.threads import started

_FRESH = 2.0  # seconds for which an answer holds
_PATIENCE = 5.0  # seconds after which an engine does not answer


class Probe:
    """Asks the engine whether it answers, at most once in `_FRESH` seconds and never twice at a time."""

    def __init__(self, answers: Callable[[], bool]) -> None:
        self._answers = answers
        self._asked: Future[bool] | None = None
        self._since = 0.0

    async def answers(self) -> bool:
        """Whether it answers."""
        now = time.monotonic()
        if not self._asked or (self._asked.done() and now > self._since + _FRESH):
            self._asked, self._since = started(self._answers), now
        with suppress(Exception):
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._asked)), _PATIENCE)
        return False
