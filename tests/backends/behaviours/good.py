"""Answers that are right, however they are framed, worded and counted."""

import gzip

from behaviours.rows import DONE, EVENTS, HTML, NDJSON, Row, choice, completion, encoded, event, part, stream, whole

ANSWER = whole("42")
LINES = b"\n".join(encoded(each) for each in (part("4"), part("2"), part({}, "stop")))


def right(name: str, body: bytes | list[bytes], **more: object) -> Row:
    return Row(name, body, "42", **more)  # type: ignore[arg-type]


def framed() -> list[Row]:
    """Content types that are wrong, compression, marks and line ends."""
    packed = {"Content-Encoding": "gzip"}
    return [
        right("whole", ANSWER),
        right("streamed", stream("4", "2"), kind=EVENTS),
        right("JSON as text/html (Flask without jsonify)", ANSWER, kind=HTML),
        right("whole completion within an event", event(completion(choice("42"))) + DONE, kind=EVENTS),
        right("byte order mark before JSON (.NET)", b"\xef\xbb\xbf" + ANSWER),
        right("NDJSON", LINES, kind=NDJSON),
        right("list of chunks (Gemini's streamGenerateContent)", b"[" + LINES.replace(b"\n", b"\n,\n") + b"]"),
        right("gzip of a stream", gzip.compress(stream("4", "2")), kind=EVENTS, headers=packed),
        right("gzip named, and not there (proxy that unpacks)", ANSWER, headers=packed),
        right("no blank lines between events", stream("4", "2").replace(b"\n\n", b"\n"), kind=EVENTS),
        right("comments (OpenRouter)", b": OPENROUTER PROCESSING\n\n" + stream("4", "2"), kind=EVENTS),
        right(
            "data over several lines",
            b'data: {"choices": [\ndata: ' + encoded(choice("42")) + b"\ndata: ]}\n\n",
            kind=EVENTS,
        ),
        right("stream without a finish reason", event(part("4")) + event(part("2")) + DONE, kind=EVENTS),
    ]


def chosen() -> list[Row]:
    """Several choices, of which the first counts."""
    turned = completion(choice("17", index=1), choice("42", index=0))
    after = [part({}, "stop", 1), part({}, "stop")]
    return [
        right("two choices, the second first", encoded(turned)),
        right(
            "chunks of two choices by turns",
            stream(part("4"), part("1", index=1), part("2"), part("7", index=1), *after),
            kind=EVENTS,
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


def counted() -> list[Row]:
    """Tokens that are counted in odd ways."""

    def tokens(**counts: object) -> bytes:
        return whole("42", usage=counts)

    return [
        right(
            "counts beyond all numbers",
            encoded(completion(choice("42"))).replace(
                b'"model"', b'"usage": {"prompt_tokens": 1e300, "completion_tokens": 99999999999999999999999}, "model"'
            ),
        ),
        right(
            "cached tokens counted apart (DashScope)",
            tokens(prompt_tokens=4, completion_tokens=3, prompt_tokens_details={"cached_tokens": 900}),
        ),
    ]


def worded() -> list[Row]:
    """Where and how the text stands."""
    said = {"type": "message", "content": [{"type": "output_text", "text": "42", "annotations": []}]}
    response = {
        "object": "response",
        "status": "completed",
        "error": None,
        "output": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "17?"}]}, said],
    }
    delta = {"type": "response.output_text.delta", "delta": "4"}
    ended = {"type": "response.completed", "response": response}
    final = "<|channel|>final<|message|>"
    thought = "<|channel|>analysis<|message|>It could be 17.<|end|>"
    return [
        right(
            "cumulative deltas (DashScope without incremental_output)",
            stream("<answer>", "<answer>4", "<answer>42", "<answer>42</answer>"),
            kind=EVENTS,
        ),
        Row("pieces that look alike", stream("1", "1", "1"), "111", kind=EVENTS),
        right(
            "harmony in the content (vLLM without its parser)", whole(f"{thought}<|start|>assistant{final}42<|return|>")
        ),
        right(
            "harmony in pieces",
            stream("<|chan", "nel|>analysis<|mess", "age|>17<|end|><|start|>assistant", final, "42"),
            kind=EVENTS,
        ),
        right("harmony without its special tokens", whole("analysisIt could be 17.assistantfinal42")),
        right("Responses API, streamed", b"".join(map(event, (delta, {**delta, "delta": "2"}, ended))), kind=EVENTS),
        right("Responses API, whole", encoded(response)),
    ]


ROWS = [*framed(), *chosen(), *counted(), *worded()]
