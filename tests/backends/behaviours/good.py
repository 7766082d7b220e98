"""Answers that are right, however they are framed, and of which choice they are."""

import gzip
import zlib
from importlib.util import find_spec

from behaviours.rows import (
    DONE,
    EVENTS,
    HTML,
    JSON,
    NDJSON,
    Row,
    choice,
    completion,
    encoded,
    event,
    part,
    stream,
    whole,
)

BROTLI = bytes.fromhex(
    "1b6600602c0eecf6161b98a808764fb4861f2149678bec6dc12c199ad661e9ea1b2025f2a527ab0f35deb364132236953880db109f4f111a96"
    "79b8c3536eaa25b4e4e201cd96bdc2cfb3350f4686d03176"
)
HAS_BROTLI = find_spec("brotli") is not None or find_spec("brotlicffi") is not None
ANSWER = whole("42")
LINES = b"\n".join(encoded(each) for each in (part("4"), part("2"), part({}, "stop")))


def right(name: str, body: bytes | list[bytes], **more: object) -> Row:
    return Row(name, body, "42", **more)  # type: ignore[arg-type]


def _deflated(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-15)
    return made.compress(data) + made.flush()


def framed() -> list[Row]:
    """Content types that are wrong, compression, marks and line ends."""
    packed = {"Content-Encoding": "gzip"}
    return [
        right("whole", ANSWER),
        right("streamed", stream("4", "2"), kind=EVENTS),
        right("JSON as text/html (Flask without jsonify)", ANSWER, kind=HTML),
        right("stream as application/json (Azure APIM)", stream("4", "2"), kind=JSON),
        right("whole completion within an event", event(completion(choice("42"))) + DONE, kind=EVENTS),
        right("pretty JSON over several lines", b'{\n  "choices": [\n' + encoded(choice("42")) + b"\n  ]\n}\n"),
        right("white space before JSON (heartbeats of OpenRouter)", b"\n\n   \n" + ANSWER),
        right("byte order mark before JSON (.NET)", b"\xef\xbb\xbf" + ANSWER),
        right("NDJSON", LINES, kind=NDJSON),
        right("list of chunks (Gemini's streamGenerateContent)", b"[" + LINES.replace(b"\n", b"\n,\n") + b"]"),
        right("gzip of a stream", gzip.compress(stream("4", "2")), kind=EVENTS, headers=packed),
        right("gzip named, and not there (proxy that unpacks)", ANSWER, headers=packed),
        right("raw deflate (IIS)", _deflated(ANSWER), headers={"Content-Encoding": "deflate"}),
        Row(
            "brotli not asked for",
            BROTLI,
            "42" if HAS_BROTLI else None,
            0 if HAS_BROTLI else 6,
            () if HAS_BROTLI else ("compressed as br",),
            headers={"Content-Encoding": "br"},
        ),
        right("CR alone", stream("4", "2").replace(b"\n", b"\r"), kind=EVENTS),
        right("no blank lines between events", stream("4", "2").replace(b"\n\n", b"\n"), kind=EVENTS),
        right("comments (OpenRouter)", b": OPENROUTER PROCESSING\n\n" + stream("4", "2"), kind=EVENTS),
        right(
            "event names and ids",
            stream("4", "2").replace(b"data", b"event: message\nid: 7\nretry: 9\ndata"),
            kind=EVENTS,
        ),
        right(
            "data over several lines",
            b'data: {"choices": [\ndata: ' + encoded(choice("42")) + b"\ndata: ]}\n\n",
            kind=EVENTS,
        ),
        right(
            "data: twice (sse-starlette around a stream)", stream("4", "2").replace(b"data", b"data: data"), kind=EVENTS
        ),
        right("stream without a finish reason", event(part("4")) + event(part("2")) + DONE, kind=EVENTS),
        right("one byte at a time", [bytes([each]) for each in stream("4", "2")], kind=EVENTS),
    ]


def chosen() -> list[Row]:
    """Several choices, of which the first counts."""
    turned = completion(choice("17", index=1), choice("42", index=0))
    after = [part({}, "stop", 1), part({}, "stop")]
    return [
        right("two choices, the second first", encoded(turned)),
        right("indices from 1", encoded(completion(choice("42", index=1), choice("17", index=2)))),
        right("index as text", encoded(completion(choice("17", index="1"), choice("42", index="0")))),
        right(
            "chunks of two choices by turns",
            stream(part("4"), part("1", index=1), part("2"), part("7", index=1), *after),
            kind=EVENTS,
        ),
        right(
            "the second choice begins",
            stream(part("1", index=1), part("7", index=1), part("4"), part("2"), *after),
            kind=EVENTS,
        ),
        right(
            "the other choice failed", encoded(completion(choice("42"), choice("", "error", 1, error={"message": "x"})))
        ),
        right(
            "the other choice calls a tool",
            encoded(
                completion(
                    choice("42"),
                    choice(
                        {"content": None, "tool_calls": [{"function": {"name": "crop_image", "arguments": "{}"}}]},
                        "tool_calls",
                        1,
                    ),
                )
            ),
        ),
    ]


ROWS = [*framed(), *chosen()]
