"""huggingface_hub as it is used here: without telemetry, Xet, progress bars and words of its own."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_SILENT = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",  # whose files come in no ranges
}


def silence() -> None:
    """Call this before the library is imported: it reads these variables once."""
    os.environ.update(_SILENT)
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # what it would say, an error says here


class RefusedError(Exception):
    """An answer to a GET that is no success; its headers are found whatever their case."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(f"HTTP {status}")
        self.status, self.headers = status, headers


@contextmanager
def session() -> Iterator[Any]:
    """The library's HTTP client, which its own functions use too.

    While the block lasts it raises RefusedError, where the library would read all that a server says of its refusal,
    however long that is, and wait as long as it asks.
    """
    from huggingface_hub import get_session

    client = get_session()
    hooks = client.event_hooks["response"]
    hooks.append(_refuse)
    try:
        yield client
    finally:
        hooks.remove(_refuse)


def _refuse(response: Any) -> None:
    if response.status_code >= 400 and response.request.method == "GET":
        raise RefusedError(response.status_code, response.headers)
