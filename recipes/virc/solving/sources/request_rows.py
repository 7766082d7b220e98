"""Rows of a file for OpenAI's batch API: a request for a chat completion, or a response, with its `custom_id`; and rows
whose question is in their `messages`.

Source: OpenAI API reference, "The request input object" of batches.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from virc.config import taken
from virc.core.errors import DataError
from virc.core.text import plain
from virc.reasoning.turns import MARK
from virc.solving.sources.columns import USUAL, key_of

_TEXTS, _PICTURES = ("text", "input_text"), ("image_url", "input_image", "image")
_INSTRUCTIONS = ("system", "developer")
_USED = ("messages", "input", "instructions")
_QUESTIONS = ("/chat/completions", "/responses")
"""Ends of the addresses of requests that ask a question."""


SEVERAL_TURNS = "its messages are a conversation of several turns, and one question is asked a row"


class RequestError(DataError):
    """A request cannot be asked; `id` is its `custom_id`."""

    def __init__(self, message: str, hint: str | None, id: Any) -> None:
        super().__init__(message, hint)
        self.id = id if type(id) in (str, int) else None


def of_request(
    number: int, fields: dict[str, Any] | DataError, ignored: Collection[str] = ()
) -> dict[str, Any] | DataError:
    """Return the row that a request is: its pictures in order, and its texts as the question; other rows as they are.

    The fault of a row: its request asks no question, holds earlier turns, or parts that are neither text nor picture.
    """
    body = _body(fields)
    if isinstance(fields, DataError) or body is None:
        return fields
    try:
        _check_url(fields.get("url") if "custom_id" in fields else None)
        texts, images = _read(body)
        if images and fields.get("images", images) not in (images, [], None):
            raise DataError("its messages have other pictures than its images")
        needed = [each for edge, each in _left(body) if taken.is_refused(edge, each) and each not in ignored]
        if names := [plain(each, 40) for each in dict.fromkeys(needed)]:
            hint = f"{taken.ignoring(names)} leaves it out"
            raise DataError(f"nothing reads {', '.join(names)} of its messages", hint)
    except DataError as fault:
        return RequestError(f"line {number}: {fault.message}", fault.hint, fields.get("custom_id", fields.get("id")))
    if "custom_id" in fields:
        return {"id": fields["custom_id"], "images": images, "question": "\n".join(texts)}
    others = {name: value for name, value in fields.items() if name != "messages"}
    return others | ({"images": images} if images else {}) | {"question": "\n".join(texts)}


def _body(fields: dict[str, Any] | DataError) -> dict[str, Any] | None:
    """The request that a row is, or that its `messages` are if it has no question; None: neither."""
    if isinstance(fields, DataError) or "custom_id" in fields:
        body = None if isinstance(fields, DataError) else fields.get("body")
        return body if isinstance(body, dict) else None
    is_asked = fields.get("messages") and {*USUAL["question"].split()}.isdisjoint(map(key_of, fields))
    return {"messages": fields["messages"]} if is_asked else None


def unused_fields(fields: dict[str, Any] | DataError) -> list[str]:
    """The fields of a request that its row does not have, in order; empty if it is no request."""
    body = _body(fields)
    return list(dict.fromkeys(name for _, name in _left(body))) if body else []


def _left(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The fields of a body, its messages and their parts that nothing reads, each with its edge."""
    yield from (("request", name) for name in taken.left("request", body, _USED))
    messages = body.get("messages", body.get("input"))
    for message in messages if isinstance(messages, list) else ():
        yield from (("message", name) for name in taken.left("message", message, ("role", "content", "type")))
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            used = ("text",) if part.get("type") in _TEXTS else ("image_url", "image")
            yield from (("part", name) for name in taken.left("part", part, ("type", *used)))


def _check_url(url: object) -> None:
    if isinstance(url, str) and not url.rstrip("/").endswith(_QUESTIONS):
        sentence = f"the url {plain(url, 80)!r} is not of a question: only chat completions and responses are asked"
        raise DataError(sentence)


def _read(body: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The texts and the addresses of pictures of a request's messages."""
    given = body.get("messages", body.get("input"))
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        raise DataError("the body of the request has no messages")
    asked = [each for each in messages if each.get("role") not in _INSTRUCTIONS]
    if len(asked) != 1 or asked[0].get("role", "user") != "user":
        raise DataError(SEVERAL_TURNS, "virc data convert FILE --to DIR --format batch writes a row for each question")
    instructions = body.get("instructions")
    texts, images = [instructions] if isinstance(instructions, str) else [], list[str]()
    for message in messages:
        for kind, value in _parts(message.get("content")):
            if kind == "text":
                texts.append(value)
            else:
                images += [value] if value else []  # else that of a column
                texts += [MARK] if message is asked[0] else []
    return texts, images


def _parts(content: object) -> Iterator[tuple[str, str]]:
    content = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    for each in content if isinstance(content, list) else [content]:
        part: dict[str, Any] = each if isinstance(each, dict) else {}
        kind = part.get("type")
        if kind in _TEXTS and isinstance(part.get("text"), str):
            yield "text", part["text"]
            continue
        url = part.get("image_url", part.get("image", "")) if kind in _PICTURES else None
        url = url.get("url") if isinstance(url, dict) else url
        if not isinstance(url, str) or (not url and kind != "image"):
            raise DataError(f"a part of type {plain(str(kind), 40)!r} is neither text nor a picture with an address")
        yield "image", url
