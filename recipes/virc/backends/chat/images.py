"""Images in requests: encoded once (`Pieces`), sent once (`SentImages`), and made small enough (`SizeLimits`).

vLLM caches a processed image under the `uuid` next to `image_url`, and from then on accepts the id alone (its
documentation, "Multimodal Inputs"). A request with an id that is no longer cached fails with status 400.
"""

import hashlib
import math
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import msgspec
from PIL import Image

from virc.backends.chat.causes import RefusedError, named_limit
from virc.backends.chat.providers import says
from virc.core.work import forks
from virc.reasoning.encoded import as_jpeg
from virc.reasoning.images import Shown
from virc.reasoning.session import Ask, Reply

Part = dict[str, Any]
AsPart = Callable[[Shown], Part]
_Reply = TypeVar("_Reply", bound=Reply)

MAX_IDS = 10_000
_QUALITIES = (90, 80, 65, 50)  # of JPEG
_MIN_SIDE = 56  # pixels
_OVERHEAD = 2**14  # bytes reserved for the JSON around texts and pictures
_MIN_BYTES = 2**14  # per picture; a refusal that names no limit never lowers it further
_SENT_AT_ONCE = 2**18  # bytes; some HTTP libraries copy the rest of a piece after each part that was sent


class RequestPicture:
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
        pictures: list[RequestPicture] = []
        mark = secrets.token_hex(16)  # random: no text of the conversation can contain it

        def marked(value: object) -> str:
            if not isinstance(value, RequestPicture):
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


def whole(shown: Shown) -> Part:
    """An image with all its data, which every endpoint accepts."""
    return {"type": "image_url", "image_url": {"url": RequestPicture(shown)}}


class SentImages:
    """The images that one endpoint has cached. Thread-safe.

    An id is a hash of the image's bytes under a key of this object: no other client of the server can compute it,
    to store another picture under it, or to find out which pictures are used.
    """

    def __init__(self) -> None:
        self._key, self._lock = os.urandom(32), forks.Lock()
        self._sent_ids = set[str]()

    def reply(self, images: Sequence[Shown], request: Callable[[AsPart], _Reply]) -> _Reply:
        """Request a reply; images that the endpoint has cached are sent as their ids.

        If it has lost one, after a restart or because its cache was full, all are sent again. `request` sends the
        request; its argument makes the message part of an image.

        Raises:
            RefusedError: the endpoint refuses the request.
        """
        ids = {each: hashlib.blake2b(each.digest, key=self._key, digest_size=20).hexdigest() for each in images}
        with self._lock:
            cached = self._sent_ids & {*ids.values()}
        try:
            reply = request(lambda shown: _part_with_id(shown, ids[shown], ids[shown] in cached))
        except RefusedError as refused:
            if not cached or not refused.is_of_missing_image:
                raise
            with self._lock:
                self._sent_ids -= cached
            reply = request(lambda shown: _part_with_id(shown, ids[shown], cached=False))
        with self._lock:
            if len(self._sent_ids) > MAX_IDS:
                self._sent_ids.clear()
            self._sent_ids.update(ids.values())
        return reply


def _part_with_id(shown: Shown, id: str, cached: bool) -> Part:
    return {"type": "image_url", "image_url": None, "uuid": id} if cached else {**whole(shown), "uuid": id}


class SizeLimits:
    """The bytes and pixels that a server accepts of pictures, learnt from its refusals. Thread-safe.

    Attributes:
        said: what the server said of the latest limit.
        keeps_sizes: whether pictures are only compressed, and not scaled down, because boxes are in pixels.
        scales: whether a picture was scaled down.
    """

    def __init__(self) -> None:
        self._lock = forks.Lock()
        self._max_picture = self._max_request = self._max_side = self._max_area = math.inf
        self.said = ""
        self._reduced: WeakKeyDictionary[Shown, Shown] = WeakKeyDictionary()
        self.keeps_sizes = self.scales = False

    def learn_pixels(self, sent: Ask, refused: RefusedError) -> bool:
        """Lower the limits of pixels after a refusal; return whether it names any, of a side or of a whole picture."""
        longest = max((max(each.size) for each in sent.images), default=0)
        largest = max((math.prod(each.size) for each in sent.images), default=0)
        side, area = named_limit("side", refused.said, longest), named_limit("area", refused.said, largest)
        if (side or area) and not self.keeps_sizes:
            with self._lock:
                self._max_side = min(self._max_side, side or math.inf)
                self._max_area = min(self._max_area, area or math.inf)
                self.said = refused.message
        return bool(side or area)

    def learn_bytes(self, sent: Ask, refused: RefusedError, ask: Ask) -> bool:
        """Lower the limits of bytes after a refusal; return whether `ask` can be sent with less than `sent` had.

        If the refusal names no limit, only that the request is too large, half the bytes are tried.
        """
        bytes_sent = sum(len(each.url) for each in sent.images)
        limit = named_limit("bytes", refused.said) or 0
        is_of_request = says("whole request", refused.said) or not says("pictures", refused.said)
        minimum = _MIN_BYTES * len(sent.images)
        if refused.too_large and not limit and bytes_sent > minimum:
            limit, is_of_request = max(bytes_sent // 2, minimum) + self._text_bytes(ask), True
        if not limit or not ask.images:
            return False
        with self._lock:
            self.said = refused.message
            if is_of_request:
                self._max_request = min(self._max_request, limit)
            else:
                self._max_picture = min(self._max_picture, limit)
        return sum(len(each.url) for each in self.fitted(ask).images) < bytes_sent

    def fitted(self, ask: Ask) -> Ask:
        """The same conversation, with pictures that are within the limits, if they can be made so small."""
        if not ask.images or not self.said:
            return ask
        share = (self._max_request - self._text_bytes(ask)) / len(ask.images)
        allowed = min(self._max_picture, share)
        max_bytes = allowed * 3 / 4 - 64  # file bytes of a data URL: base64 and a prefix
        return msgspec.structs.replace(ask, images=tuple(self._reduce(each, max_bytes) for each in ask.images))

    def _text_bytes(self, ask: Ask) -> int:
        return sum(len(message.text.encode(errors="replace")) for message in ask.messages) + _OVERHEAD

    def _reduce(self, shown: Shown, max_bytes: float) -> Shown:
        def fits(version: Shown) -> bool:
            has_pixels = max(version.size) <= self._max_side and math.prod(version.size) <= self._max_area
            return has_pixels and len(version.file.data) <= max_bytes

        if fits(shown):
            return shown
        reduced = self._reduced.get(shown)
        if reduced is None or not fits(reduced):
            reduced = next(filter(fits, self._versions(shown)), shown)
            self.scales |= reduced.size != shown.size
            if reduced is not shown:  # which would keep itself in memory
                self._reduced[shown] = reduced
        shown.sent = reduced.size
        if shown.sent != shown.size:
            shown.server_limit = self.said
        return reduced

    def _versions(self, shown: Shown) -> Iterator[Shown]:
        """Smaller and smaller versions: by the limits of pixels, by JPEG quality, then, if that is allowed, by size."""
        pixels = shown.pixels
        factor = min(self._max_side / max(pixels.size), math.sqrt(self._max_area / math.prod(pixels.size)))
        if factor < 1 and not self.keeps_sizes:
            width, height = (max(1, int(side * factor)) for side in pixels.size)
            pixels = pixels.resize((width, height), Image.Resampling.BICUBIC)
            yield Shown(pixels)
        for quality in _QUALITIES:
            yield Shown(pixels, file=as_jpeg(pixels, quality), is_jpeg=True)
        while not self.keeps_sizes and min(pixels.size) >= 2 * _MIN_SIDE:
            size = (pixels.width * 3 // 4, pixels.height * 3 // 4)
            pixels = pixels.resize(size, Image.Resampling.BICUBIC)
            yield Shown(pixels, file=as_jpeg(pixels, _QUALITIES[1]), is_jpeg=True)
