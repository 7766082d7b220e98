"""What a row of the table is, and bodies as servers write them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
JSON, EVENTS, TEXT, HTML, NDJSON = (
    "application/json",
    "text/event-stream",
    "text/plain; charset=utf-8",
    "text/html",
    "application/x-ndjson",
)
DONE = b"data: [DONE]\n\n"


KEY = "sk-virc-4f1d9c0e77"


@dataclass(frozen=True)
class Row:
    """One behaviour of a server: what it sends to a request for a completion, and what virc makes of it.

    Args:
        name: of the behaviour, with whose server does so, or where it was read.
        body: the body, or the pieces that it is sent in.
        answer: what is printed, with exit code 0; None: nothing is.
        code: the exit code where nothing is printed.
        words: what stderr holds then, in lower case.
        status, kind, headers: of the response.
        options: of the command.
        key: that is sent; empty: none.
        chats: how many requests are made; None: any number.
        before: status, body and headers of the first responses, one each; the row's own follow.
    """

    name: str
    body: bytes | Sequence[bytes]
    answer: str | None = None
    code: int = 0
    words: tuple[str, ...] = ()
    status: int = 200
    kind: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    key: str = KEY
    chats: int | None = None
    before: Sequence[tuple[int, bytes, Mapping[str, str]]] = ()


def encoded(value: object) -> bytes:
    """JSON."""
    return json.dumps(value, ensure_ascii=False).encode()


def choice(message: object, finish: object = "stop", index: object = 0, **more: Any) -> Json:
    """A choice of a whole completion; a text is the content of its message."""
    message = {"role": "assistant", "content": message} if isinstance(message, str) else message
    return {"index": index, "message": message, "finish_reason": finish, **more}


def completion(*choices: Json, **more: Any) -> Json:
    """A whole completion."""
    return {"id": "c1", "object": "chat.completion", "model": "m", "choices": list(choices), **more}


def whole(message: object, finish: object = "stop", **more: Any) -> bytes:
    """A whole completion with one choice, as JSON."""
    return encoded(completion(choice(message, finish), **more))


def part(delta: object, finish: object = None, index: object = 0, **more: Any) -> Json:
    """A chunk with one choice; a text is the content of its delta."""
    delta = {"content": delta} if isinstance(delta, str) else delta
    found = {"index": index, "delta": delta, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "choices": [found], **more}


def event(value: object) -> bytes:
    """An event."""
    return b"data: " + (value if isinstance(value, bytes) else encoded(value)) + b"\n\n"


def stream(*chunks: object, done: bool = True) -> bytes:
    """Events; texts are contents of deltas, and the last of them ends the reply."""
    made = [part(each) if isinstance(each, str) else each for each in chunks]
    if chunks and isinstance(chunks[-1], str):
        made.append(part({}, "stop"))
    return b"".join(map(event, made)) + (DONE if done else b"")


def error(message: str, **more: Any) -> bytes:
    """An error as OpenAI words it."""
    return encoded({"error": {"message": message, "type": "error", "param": None, "code": None, **more}})


def page(title: str, body: str = "") -> bytes:
    """A web page."""
    return f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body>{body}</body></html>".encode()
