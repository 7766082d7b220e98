"""Replies that are no answers, errors that come with status 200, and bodies that are no completion."""

import gzip

from behaviours.rows import DONE, EVENTS, HTML, JSON, Row, choice, completion, encoded, event, page, part, stream, whole

FULL = {"prompt_tokens": 900, "completion_tokens": 1024}
LIMIT = ("--max-tokens", "1024")
LOOP = "I see a cat on the mat.\n"


def empty(name: str, body: bytes | list[bytes], *words: str, **more: object) -> Row:
    """A reply that the model finished without an answer."""
    return Row(name, body, None, 8, words, **more)  # type: ignore[arg-type]


def fails(name: str, body: bytes | list[bytes], *words: str, code: int = 6, **more: object) -> Row:
    """An answer that is none."""
    return Row(name, body, None, code, words, **more)  # type: ignore[arg-type]


def no_answers() -> list[Row]:
    """What reads like an answer and is none."""
    analysis = "<|channel|>analysis<|message|>I have to look at the 42 again."
    blocked = "content filter"
    return [
        empty(
            "fills max_tokens and says stop (gateways)",
            whole("The number is", usage=FULL),
            "--max-tokens",
            options=LIMIT,
        ),
        empty(
            "context full before max_tokens (LM Studio)",
            whole("The number is", "length", usage={"prompt_tokens": 3600, "completion_tokens": 496}),
            "496 of 1,024 tokens",
            "longer context",
            options=LIMIT,
        ),
        empty("an answer, then the same two lines to the end", whole("42\n" + (LOOP + "And a dog.\n") * 30), "repeats"),
        empty("a box alone (InternVL)", whole("<box>[[100, 200, 300, 400]]</box>"), "nothing but a box"),
        empty("harmony without a final channel", whole(analysis), "thought without"),
        empty("refusal beside a text", whole({"content": "42", "refusal": "I can't help with that."}), "i can't help"),
        empty("finish reason SAFETY (Gemini)", whole("4", "SAFETY"), blocked),
        empty(
            "the second choice alone answers, streamed",
            stream(part({}, "stop"), part("17", "stop", 1)),
            "empty",
            kind=EVENTS,
        ),
    ]


def errors_inside() -> list[Row]:
    """Errors that come with status 200."""
    busy = {"message": "Provider returned error", "code": 502, "metadata": {"raw": "upstream is down"}}
    anthropic = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "42"}]}
    return [
        fails("error 502 (OpenRouter)", encoded({"error": busy}), "provider returned error"),
        fails("error beside choices", whole("42", error={"message": "the runner stopped"}), "runner stopped"),
        fails(
            "error 401 (OpenRouter)",
            encoded({"error": {"message": "No auth credentials found", "code": 401}}),
            "key",
            "no auth",
            code=3,
        ),
        fails("error of a choice beside stop", encoded(completion(choice("42", error=busy))), "provider returned"),
        fails(
            "base_resp (MiniMax)",
            encoded({"choices": None, "base_resp": {"status_code": 1004, "status_msg": "login fail"}}),
            "login fail",
        ),
        fails("Anthropic's message", encoded(anthropic), "anthropic", code=3),
    ]


def no_completions() -> list[Row]:
    """Bodies that are something else, or a part."""
    bomb = gzip.compress(event(part("4")) + b" " * 10**8, 9)
    return [
        fails("empty body", b"", "empty body"),
        fails(
            "web page with status 200 (login)", page("Sign in to Contoso"), "web page", "sign in to contoso", kind=HTML
        ),
        fails("other JSON", b'{"hello": "world"}', "no chat completion", "hello"),
        fails("a list of numbers", b"[42]", "cannot be read"),
        fails("stream that ends early", stream("4", part("2"), done=False), "before its answer was whole", kind=EVENTS),
        fails("[DONE] alone", DONE, "no chat completion", kind=EVENTS),
        fails("no UTF-8", whole("42").replace(b"42", b"\xff"), "cannot be read"),
        fails("gzip bomb that no header names", bomb, "bytes for one answer", kind=JSON),
        fails(
            "gzip that is damaged",
            gzip.compress(whole("42"))[:12] + b"damaged",
            "compressed body",
            headers={"Content-Encoding": "gzip"},
        ),
    ]


ROWS = [*no_answers(), *errors_inside(), *no_completions()]
