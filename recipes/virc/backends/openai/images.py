"""Images of a conversation as parts of its messages; an endpoint that keeps them by id is sent each one once.

vLLM keeps what it made of an image under the `uuid` beside `image_url`, and takes the id alone from then on
(its documentation, "Multimodal Inputs"). An id that it no longer knows fails the request, with status 400.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from virc.backends.openai.pieces import Picture
from virc.core.errors import ConfigError, NetworkError
from virc.reasoning.images import Shown
from virc.reasoning.session import Reply

Part = dict[str, Any]
AsPart = Callable[[Shown], Part]
_Reply = TypeVar("_Reply", bound=Reply)

MISSED = "cache miss for image"
"""What vLLM says where it does not know an id, in lower case."""
MAX_MISSES = 16
MAX_KEPT = 10_000


class MissedError(ConfigError):
    """The endpoint does not know an image that was named by its id alone."""


def whole(shown: Shown) -> Part:
    """An image with all its data, as every endpoint takes it."""
    return {"type": "image_url", "image_url": {"url": Picture(shown)}}


class SentImages:
    """Which images one endpoint keeps. Threads may share it.

    An id is a hash of the image's bytes under a key of this object: no other client of the server can compute it,
    and put a picture of its own there, or learn which pictures are used.
    """

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._kept: dict[str, None] = {}  # the oldest first
        self._misses = 0  # since an id was known
        self._lock = threading.Lock()

    def draw(self, images: Sequence[Shown], drawn: Callable[[AsPart], _Reply]) -> _Reply:
        """Draw a reply about images, of which the endpoint gets the data of those it does not keep.

        It gets all once more where it has lost one: it was started anew, or its room was needed for others. `drawn`
        sends the request, its images as the function makes them.

        Raises:
            MissedError: it does not know an image whose data it was sent.
        """
        if self._misses >= MAX_MISSES:  # it keeps nothing: every request would be sent twice
            return drawn(whole)
        ids = {each: hashlib.blake2b(each.digest, key=self._key, digest_size=20).hexdigest() for each in images}
        with self._lock:
            kept = self._kept.keys() & set(ids.values())
        try:
            reply = drawn(lambda shown: _named(shown, ids[shown], ids[shown] in kept))
        except NetworkError:  # when it is back, it may have been started anew
            self._forget()
            raise
        except MissedError:
            if not kept:
                raise
            self._misses += 1
            self._forget(kept)
            reply = drawn(lambda shown: _named(shown, ids[shown], kept=False))
        else:
            self._misses = 0 if kept else self._misses
        with self._lock:
            for id in ids.values():
                self._kept[id] = self._kept.pop(id, None)
            while len(self._kept) > MAX_KEPT:
                del self._kept[next(iter(self._kept))]
        return reply

    def _forget(self, ids: Iterable[str] | None = None) -> None:
        with self._lock:
            for id in list(self._kept) if ids is None else ids:
                self._kept.pop(id, None)


def _named(shown: Shown, id: str, kept: bool) -> Part:
    return {"type": "image_url", "image_url": None, "uuid": id} if kept else {**whole(shown), "uuid": id}
