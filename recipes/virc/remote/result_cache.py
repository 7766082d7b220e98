"""Results of calls, kept in memory."""

import threading
from collections import OrderedDict

from virc.reasoning.calls import Result

_MAX_RESULTS = 1000
_MAX_PIXELS = 50_000_000


class ResultCache:
    """The results that were used last, so many that their images fit in 150 MB; threads may share it."""

    def __init__(self) -> None:
        self._results: OrderedDict[bytes, Result] = OrderedDict()
        self._pixels = 0
        self._lock = threading.Lock()

    def get(self, key: bytes) -> Result | None:
        """The result of that call; None: it is not kept."""
        with self._lock:
            if found := self._results.get(key):
                self._results.move_to_end(key)
            return found

    def put(self, key: bytes, result: Result) -> None:
        """Keep a result."""
        with self._lock:
            if key in self._results:
                return
            self._results[key] = result
            self._pixels += _pixels(result)
            while self._results and (len(self._results) > _MAX_RESULTS or self._pixels > _MAX_PIXELS):
                self._pixels -= _pixels(self._results.popitem(last=False)[1])


def _pixels(result: Result) -> int:
    return sum(image.size[0] * image.size[1] for image in result.images)
