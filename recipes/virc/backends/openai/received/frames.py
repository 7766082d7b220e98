"""The JSON values of a body, however it is framed; its content type is not looked at.

They stand in server-sent events (WHATWG HTML standard, 9.2; some servers leave out the blank line between two), in one
JSON text over one or several lines, one to a line, or in a list.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from virc.backends.openai.errors import WireError, failed, parsed, unreadable

Value = tuple[dict[str, Any], bool]
"""An object, and whether it came as an event."""
_BOM = b"\xef\xbb\xbf"
_FIELDS = frozenset({b"data", b"event", b"id", b"retry", b""})  # of server-sent events; the last is a comment
_DATA = re.compile(rb"\A(?:data:\s*)+")  # gateways that frame what is framed already repeat the name of the field
_NOTHING = frozenset({b"", b"null", b'""', b"[]"})  # data of events that keep a connection alive
_LINE_END = re.compile(rb"\r\n|\n|\r")


def values(pieces: Iterable[bytes]) -> Iterator[Value | None]:
    """Yield the objects of a body; None if the stream says that it is done, and nothing after.

    Raises:
        WireError: something else stands there, an event reports an error, or the body ends within an event.
    """
    name, data = b"", list[bytes]()  # of the event that is read
    text = list[bytes]()  # lines of JSON that is no event and goes on
    is_first = True
    for line in (line.removeprefix(b"\x1e") for line in lines(pieces)):  # which begins JSON texts by RFC 7464
        if not line and not data and name != b"error":  # between two events
            name = b""
            continue
        field, _, value = line.partition(b":")
        value, begins, found = _DATA.sub(b"", value.strip(), 1), line.lstrip()[:1], None
        if text or begins == b"{" or (is_first and begins and field not in _FIELDS):
            found = None if text else _read(line, is_event=False)
            text += [line] if found is None else []
        elif not line:
            found = _event(name, data)
            name, data = b"", []
        elif field == b"error":  # llama.cpp, older
            raise failed(parsed(value))
        elif field == b"event":
            name = value
        elif field == b"data" and value.strip(b'"').upper() == b"[DONE]":
            yield None
            return
        elif field == b"data" and value not in _NOTHING:
            found = None if data or name == b"error" else _read(value)
            data += [value] if found is None else []
        is_first = is_first and not begins
        if found:
            yield found
    if data:
        yield _event(name, data, is_ended=False)
    if text or is_first:
        yield from _listed(b"\n".join(text))


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a body, which end with LF, CR LF or CR; what follows the last end is a line too."""
    rest = list[bytes]()
    is_after_return = False
    for piece in _without_mark(pieces):
        part = piece[1:] if is_after_return and piece.startswith(b"\n") else piece
        is_after_return = piece.endswith(b"\r") or (is_after_return and not piece)
        *ended, last = _LINE_END.split(part) if b"\r" in part else part.split(b"\n")
        for line in ended:
            yield b"".join((*rest, line))
            rest.clear()
        rest.append(last)
    yield b"".join(rest)


def _without_mark(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces without the byte order mark that some begin with."""
    start, further = b"", iter(pieces)
    for piece in further:
        start += piece
        if len(start) >= len(_BOM) or not _BOM.startswith(start):
            break
    yield start.removeprefix(_BOM)
    yield from further


def _read(data: bytes, is_event: bool = True) -> Value | None:
    found = parsed(data)
    return (found, is_event) if isinstance(found, dict) else None


def _event(name: bytes, data: list[bytes], is_ended: bool = True) -> Value:
    whole = b"\n".join(data)
    found = parsed(whole)
    if name == b"error":
        raise failed(found)
    if isinstance(found, dict):
        return found, True
    raise unreadable(whole) if is_ended else WireError("stopped before its answer was whole", broken=True)


def _listed(data: bytes) -> Iterator[Value]:
    found = parsed(data)
    if isinstance(found, str) and data.lstrip()[:1] == b'"':  # JSON within JSON
        found = parsed(found.encode(errors="replace"))
    objects = found if isinstance(found, list) else [found]
    if not objects or not all(isinstance(each, dict) for each in objects):
        raise unreadable(data)
    yield from ((each, False) for each in objects)
