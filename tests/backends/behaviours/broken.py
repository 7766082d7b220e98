"""Bodies of status 200 that are no completion, or a part of one."""

import gzip

from behaviours.rows import DONE, EVENTS, HTML, JSON, TEXT, Row, encoded, event, page, part, stream, whole


def fails(name: str, body: bytes | list[bytes], *words: str, code: int = 6, **more: object) -> Row:
    """An answer that is none."""
    return Row(name, body, None, code, words, **more)  # type: ignore[arg-type]


def no_completions() -> list[Row]:
    """Bodies that are something else, or a part."""
    bomb = gzip.compress(event(part("4")) + b" " * 10**8, 9)
    return [
        fails("empty body", b"", "empty body"),
        fails(
            "web page with status 200 (login)", page("Sign in to Contoso"), "web page", "sign in to contoso", kind=HTML
        ),
        fails("page behind a comment", b"<!-- x -->\n" + page("Welcome"), "web page"),
        fails("XML", b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "web page", "nosuchkey"),
        fails("plain text", b"Internal Server Error", "internal server error", kind=TEXT),
        fails("other JSON", b'{"hello": "world"}', "no chat completion", "hello"),
        fails("a list of numbers", b"[42]", "cannot be read"),
        fails("choices a text", encoded({"choices": "42"}), "cannot be read"),
        fails("stream that ends early", stream("4", part("2"), done=False), "before its answer was whole", kind=EVENTS),
        fails("stream that ends within an event", stream("4", part("2"), done=False)[:-20], "whole", kind=EVENTS),
        fails("text completion that ends early", event({"choices": [{"text": "4"}]}), "whole", kind=EVENTS),
        fails("[DONE] alone", DONE, "no chat completion", kind=EVENTS),
        fails("events of no JSON", b"data: {'a': 1}\n\n" + DONE, "cannot be read", kind=EVENTS),
        fails("no UTF-8", whole("42").replace(b"42", b"\xff"), "cannot be read"),
        fails("gzip bomb that no header names", bomb, "bytes for one answer", kind=JSON),
        fails(
            "gzip that is damaged",
            gzip.compress(whole("42"))[:12] + b"damaged",
            "compressed body",
            headers={"Content-Encoding": "gzip"},
        ),
        fails("an unknown encoding", b"\x00\x01\x02\x03", "compressed as lzw", headers={"Content-Encoding": "lzw"}),
    ]


ROWS = [*no_completions()]
