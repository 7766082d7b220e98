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
    TEXT,
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
        right("JSON as text/plain (nginx default_type)", ANSWER, kind=TEXT),
        right("JSON as text/html (Flask without jsonify)", ANSWER, kind=HTML),
        right("JSON without a type", ANSWER, kind=""),
        right("JSON as an event stream (gateway that ignores stream)", ANSWER, kind=EVENTS),
        right("stream as application/json (Azure APIM)", stream("4", "2"), kind=JSON),
        right("stream as text/plain (Cloudflare Workers)", stream("4", "2"), kind=TEXT),
        right("stream as octets", stream("4", "2"), kind="application/octet-stream"),
        right("whole completion within an event", event(completion(choice("42"))) + DONE, kind=EVENTS),
        right("whole completion within an event, without [DONE]", event(completion(choice("42"))), kind=EVENTS),
        right("pretty JSON over several lines", b'{\n  "choices": [\n' + encoded(choice("42")) + b"\n  ]\n}\n"),
        right("pretty JSON with CR LF", b'{\r\n "choices": [' + encoded(choice("42")) + b"]\r\n}"),
        right("white space before JSON (heartbeats of OpenRouter)", b"\n\n   \n" + ANSWER),
        right("byte order mark before JSON (.NET)", b"\xef\xbb\xbf" + ANSWER),
        right("byte order mark before a stream", b"\xef\xbb\xbf" + stream("4", "2"), kind=EVENTS),
        right("byte order mark in pieces", [b"\xef", b"\xbb", b"\xbf" + ANSWER], kind=EVENTS),
        right("NDJSON", LINES, kind=NDJSON),
        right("NDJSON as JSON", LINES + b"\n", kind=JSON),
        right("list of chunks (Gemini's streamGenerateContent)", b"[" + LINES.replace(b"\n", b"\n,\n") + b"]"),
        right("list with the completion", b"[" + ANSWER + b"]"),
        right("gzip not asked for", gzip.compress(ANSWER), headers=packed),
        right("x-gzip", gzip.compress(ANSWER), headers={"Content-Encoding": "x-gzip"}),
        right("gzip of a stream", gzip.compress(stream("4", "2")), kind=EVENTS, headers=packed),
        right("gzip that no header names", gzip.compress(ANSWER)),
        right("gzip named, and not there (proxy that unpacks)", ANSWER, headers=packed),
        right("gzip twice", gzip.compress(gzip.compress(ANSWER)), headers={"Content-Encoding": "gzip, gzip"}),
        right("deflate", zlib.compress(ANSWER), headers={"Content-Encoding": "deflate"}),
        right("raw deflate (IIS)", _deflated(ANSWER), headers={"Content-Encoding": "deflate"}),
        right("Content-Encoding: utf-8 (Spring gateways)", ANSWER, headers={"Content-Encoding": "utf-8"}),
        right("identity", ANSWER, headers={"Content-Encoding": "identity"}),
        Row(
            "brotli not asked for",
            BROTLI,
            "42" if HAS_BROTLI else None,
            0 if HAS_BROTLI else 6,
            () if HAS_BROTLI else ("compressed as br",),
            headers={"Content-Encoding": "br"},
        ),
        right("CR LF", stream("4", "2").replace(b"\n", b"\r\n"), kind=EVENTS),
        right("CR alone", stream("4", "2").replace(b"\n", b"\r"), kind=EVENTS),
        right(
            "CR LF cut between the two", [b"data: " + encoded(part("42", "stop")) + b"\r", b"\n\r", b"\n"], kind=EVENTS
        ),
        right("no blank lines between events", stream("4", "2").replace(b"\n\n", b"\n"), kind=EVENTS),
        right("no space behind data:", stream("4", "2").replace(b"data: ", b"data:"), kind=EVENTS),
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
        right("empty data lines as heartbeat", b"data:\n\ndata: \n\n" + stream("4", "2"), kind=EVENTS),
        right("pings (Anthropic's way)", b'event: ping\ndata: {"type": "ping"}\n\n' + stream("4", "2"), kind=EVENTS),
        right("stream without [DONE] (LMDeploy, older)", stream("4", "2", done=False), kind=EVENTS),
        right("stream without a finish reason", event(part("4")) + event(part("2")) + DONE, kind=EVENTS),
        right("one byte at a time", [bytes([each]) for each in stream("4", "2")], kind=EVENTS),
    ]


def chosen() -> list[Row]:
    """Several choices, of which the first counts."""
    two = completion(choice("42"), choice("17", index=1))
    turned = completion(choice("17", index=1), choice("42", index=0))
    alone = [{"message": {"content": each}, "finish_reason": "stop"} for each in ("42", "17")]
    both = {"choices": [part("42")["choices"][0], part("17", index=1)["choices"][0]]}
    after = [part({}, "stop", 1), part({}, "stop")]
    return [
        right("two choices", encoded(two)),
        right("two choices, the second first", encoded(turned)),
        right("two choices without index", encoded({"choices": alone})),
        right("indices from 1", encoded(completion(choice("42", index=1), choice("17", index=2)))),
        right("index as text", encoded(completion(choice("17", index="1"), choice("42", index="0")))),
        right("index null", encoded(completion(choice("42", index=None), choice("17", index=None)))),
        right("both with index 0", encoded(completion(choice("42"), choice("17")))),
        right("an empty choice behind", encoded(completion(choice("42"), choice("", index=1)))),
        right("null among the choices", encoded({"choices": [choice("42"), None]})),
        right("two choices in one chunk", stream(both, *after), kind=EVENTS),
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
        right("the second choice ends first", stream(part("17", "stop", 1), part("4"), part("2", "stop")), kind=EVENTS),
        right("streamed indices from 1", stream(part("4", index=1), part("2", "stop", 1)), kind=EVENTS),
        right("the other choice was filtered", encoded(completion(choice("42"), choice("", "content_filter", 1)))),
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
