"""The body of a request as pieces that were encoded before: pictures are neither copied nor encoded again each turn."""

import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from virc.reasoning.images import Shown

_SENT_AT_ONCE = 2**18  # bytes; some HTTP libraries copy the rest of a piece after each part that was sent


class Picture:
    """A picture in a request, as a data URL or as its base64 alone."""

    def __init__(self, shown: Shown, url: bool = True) -> None:
        self.shown, self.url = shown, url

    @property
    def encoded(self) -> memoryview:
        """It as it stands between the quotes of a JSON string; encoded once."""
        url = self.shown.url
        return memoryview(url)[0 if self.url else url.index(b",") + 1 :]


class Pieces:
    """A request as JSON; iterated over, it gives its bytes, as often as it is sent."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        pictures: list[Picture] = []
        mark = secrets.token_hex(16)  # so that no text of the conversation can hold it

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
