"""Bodies and keys of requests to servers of ours, without a socket: what is read, and what is refused when."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Request
from starlette.requests import ClientDisconnect

from virc.serving import chat_http
from virc.serving.chat_request import RefusedError


def request(
    pieces: Sequence[bytes], *, keys: tuple[str, ...] | None = None, ends: str = "whole", **headers: str
) -> Any:
    """A request whose body comes in these pieces, and then ends, stops, or is left."""
    waiting = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    waiting += [{"type": "http.request"}] if ends == "whole" else []

    async def receive() -> Any:
        if not waiting and ends == "stops":
            await asyncio.Event().wait()
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    app = SimpleNamespace(state=SimpleNamespace(served=SimpleNamespace(api_key=keys)))
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": named, "app": app, "server": ("127.0.0.1", 80)}
    return Request(scope, receive)


@pytest.mark.parametrize(
    ("pieces", "headers", "held"),
    [
        ([b"12345", b"67890"], {}, [5, 5]), ([b"12345", b"67890", b"1"], {}, [5, 5, 1]), ([b"1"] * 40, {}, [1] * 11),
        ([b"1"], {"content_length": "11"}, []), ([b"1" * 11], {"content_length": "3"}, [11]),
        ([b"123"], {"content_length": "many"}, [3]),
    ],
)  # fmt: skip
def test_a_body_is_kept_up_to_its_bound(
    pieces: list[bytes], headers: dict[str, str], held: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_http, "MAX_BODY", 10)
    came: list[int] = []
    body = chat_http.body_of(request(pieces, **headers), lambda size: came.append(size) if size else None)
    if sum(held) <= 10 and headers.get("content_length") != "11":
        assert asyncio.run(body) == b"".join(pieces)
    else:
        with pytest.raises(RefusedError, match="the body is over") as refused:
            asyncio.run(body)
        assert refused.value.status == 413
    assert came == held


@pytest.mark.parametrize(("ends", "raised"), [("stops", RefusedError), ("is left", ClientDisconnect)])
def test_a_body_that_does_not_end_is_not_waited_for(
    ends: str, raised: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_http, "_BODY_SECONDS", 0.01)
    with pytest.raises(raised) as error:
        asyncio.run(chat_http.body_of(request([b"half"], ends=ends)))
    assert getattr(error.value, "status", 408) == 408
