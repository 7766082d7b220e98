"""Pictures made smaller for a server that takes no more than so many bytes."""

import math
import threading
from collections.abc import Iterator
from weakref import WeakKeyDictionary

import msgspec
from PIL import Image

from virc.backends.openai.refusals import RefusedError, bytes_allowed
from virc.reasoning.encoded import as_jpeg
from virc.reasoning.images import Shown
from virc.reasoning.session import Ask

_QUALITIES = (90, 80, 65, 50)  # of JPEG
_MIN_SIDE = 56  # pixels
_OF_TEXT = 2**14  # bytes of a request beside its pictures, and of JSON around each
_LEAST = 2**14  # bytes of a picture that is sent: without a number, no refusal is taken to mean fewer


class ByteLimits:
    """How many bytes a server takes, learnt from its refusals. Threads may share it.

    Attributes:
        keeps_sizes: whether pictures must be shown as large as they are, as boxes in pixels need it: they are then
            encoded with more loss, and never scaled down.
        scales: whether a picture was scaled down.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._picture = self._request = math.inf
        self._smaller: WeakKeyDictionary[Shown, Shown] = WeakKeyDictionary()
        self.keeps_sizes = self.scales = False

    def learn(self, sent: Ask, refused: RefusedError, ask: Ask) -> bool:
        """Take a server's refusal of what was `sent` of a conversation into account; whether fewer bytes can be sent.

        Where its status alone says that the request is too large, half the bytes are tried.
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
        """The same with pictures that the server takes, as far as that is known and can be done."""
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
