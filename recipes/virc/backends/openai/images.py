"""Images of a conversation as parts of its messages; to an endpoint that caches them by id, each is sent once.

vLLM caches a processed image under the `uuid` next to `image_url`, and from then on accepts the id alone (its
documentation, "Multimodal Inputs"). A request with an id that is no longer cached fails with status 400.
"""

import hashlib
import math
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import msgspec
from PIL import Image

from virc.backends.openai.refusals import RefusedError, bytes_allowed
from virc.core.errors import ConfigError, NetworkError
from virc.reasoning.encoded import as_jpeg
from virc.reasoning.images import Shown
from virc.reasoning.session import Ask, Reply

Part = dict[str, Any]
AsPart = Callable[[Shown], Part]
_Reply = TypeVar("_Reply", bound=Reply)

MISSED = "cache miss for image"
"""What vLLM answers if it does not know an id, in lower case."""
MAX_MISSES = 16
MAX_KEPT = 10_000
_QUALITIES = (90, 80, 65, 50)  # of JPEG
_MIN_SIDE = 56  # pixels
_OF_TEXT = 2**14  # bytes of a request without its pictures, and of JSON around each
_LEAST = 2**14  # bytes of a picture: a refusal without a number never lowers the limit further
_SENT_AT_ONCE = 2**18  # bytes; some HTTP libraries copy the rest of a piece after each part that was sent


class Picture:
    """A picture in a request, as a data URL or as its base64 alone."""

    def __init__(self, shown: Shown, url: bool = True) -> None:
        self.shown, self.url = shown, url

    @property
    def encoded(self) -> memoryview:
        """The bytes between the quotes of a JSON string; encoded once."""
        url = self.shown.url
        return memoryview(url)[0 if self.url else url.index(b",") + 1 :]


class Pieces:
    """A request as JSON; each iteration yields all of its bytes, so that it can be sent again."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        pictures: list[Picture] = []
        mark = secrets.token_hex(16)  # random: no text of the conversation can contain it

        def marked(value: object) -> str:
            if not isinstance(value, Picture):
                raise NotImplementedError
            pictures.append(value)
            return mark

        first, *texts = msgspec.json.encode(request, enc_hook=marked).split(mark.encode())
        self._parts = [memoryview(first)]
        for picture, text in zip(pictures, texts, strict=True):
            self._parts += [picture.encoded, memoryview(text)]

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            for start in range(0, len(part), _SENT_AT_ONCE):
                yield bytes(part[start : start + _SENT_AT_ONCE])


class MissedError(ConfigError):
    """The endpoint does not know an image that was sent by its id alone."""


def whole(shown: Shown) -> Part:
    """An image with all its data, which every endpoint accepts."""
    return {"type": "image_url", "image_url": {"url": Picture(shown)}}


class SentImages:
    """The images that one endpoint has cached. Thread-safe.

    An id is a hash of the image's bytes under a key of this object: no other client of the server can compute it,
    to store another picture under it, or to find out which pictures are used.
    """

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._kept: dict[str, None] = {}  # the oldest first
        self._misses = 0  # in a row
        self._lock = threading.Lock()

    def draw(self, images: Sequence[Shown], drawn: Callable[[AsPart], _Reply]) -> _Reply:
        """Draw a reply about images; the data of cached ones is not sent.

        If the endpoint has lost one, after a restart or because its cache was full, all are sent again. `drawn` sends
        the request; its argument makes the message part of an image.

        Raises:
            MissedError: the endpoint does not know an image whose data was sent.
        """
        if self._misses >= MAX_MISSES:  # it caches nothing: every request would be sent twice
            return drawn(whole)
        ids = {each: hashlib.blake2b(each.digest, key=self._key, digest_size=20).hexdigest() for each in images}
        with self._lock:
            kept = self._kept.keys() & set(ids.values())
        try:
            reply = drawn(lambda shown: _named(shown, ids[shown], ids[shown] in kept))
        except NetworkError:  # when it is back, it may have been restarted
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


class ByteLimits:
    """How many bytes a server accepts, learnt from its refusals. Thread-safe.

    Attributes:
        keeps_sizes: whether pictures must keep their sizes, because boxes are in pixels: they are then compressed
            more, and never scaled down.
        scales: whether a picture was scaled down.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._picture = self._request = math.inf
        self._smaller: WeakKeyDictionary[Shown, Shown] = WeakKeyDictionary()
        self.keeps_sizes = self.scales = False

    def learn(self, sent: Ask, refused: RefusedError, ask: Ask) -> bool:
        """Lower the limits after a refusal; return whether `ask` can be sent with fewer bytes than `sent` had.

        If the refusal names no limit, only that the request is too large, half the bytes are tried.
        """
        before = sum(len(each.url) for each in sent.images)
        allowed = bytes_allowed(refused.said)
        if refused.too_large and not allowed and before > (least := _LEAST * len(sent.images)):
            allowed = (max(before // 2, least) + self._text(ask), True)
        if not allowed or not ask.images:
            return False
        most, is_whole = allowed
        with self._lock:
            if is_whole:
                self._request = min(self._request, most)
            else:
                self._picture = min(self._picture, most)
        return sum(len(each.url) for each in self.fitted(ask).images) < before

    def fitted(self, ask: Ask) -> Ask:
        if not ask.images or min(self._picture, self._request) == math.inf:
            return ask
        share = (self._request - self._text(ask)) / len(ask.images)
        most = int(min(self._picture, share)) * 3 // 4 - 64  # as base64, in a data URL
        return msgspec.structs.replace(ask, images=tuple(self._fitting(each, most) for each in ask.images))

    def _text(self, ask: Ask) -> int:
        return sum(len(message.text.encode(errors="replace")) for message in ask.messages) + _OF_TEXT

    def _fitting(self, shown: Shown, most: int) -> Shown:
        if len(shown.file.data) <= most:
            return shown
        known = self._smaller.get(shown)
        if known is None or len(known.file.data) > most:
            known = next((each for each in self._versions(shown) if len(each.file.data) <= most), shown)
            self.scales |= known.size != shown.size
            self._smaller[shown] = known
        shown.sent = known.size
        return known

    def _versions(self, shown: Shown) -> Iterator[Shown]:
        pixels = shown.pixels
        for quality in _QUALITIES:
            yield Shown(pixels, file=as_jpeg(pixels, quality), is_jpeg=True)
        while not self.keeps_sizes and min(pixels.size) >= 2 * _MIN_SIDE:
            size = (pixels.width * 3 // 4, pixels.height * 3 // 4)
            pixels = pixels.resize(size, Image.Resampling.BICUBIC)
            yield Shown(pixels, file=as_jpeg(pixels, _QUALITIES[1]), is_jpeg=True)
