"""Answers that are right, however tokens are counted and wherever the text stands."""

from behaviours.rows import COUNTS, EVENTS, Row, choice, completion, encoded, event, part, stream, whole


def right(name: str, body: bytes | list[bytes], **more: object) -> Row:
    return Row(name, body, "42", **more)  # type: ignore[arg-type]


def counted() -> list[Row]:
    """Tokens that are counted in odd ways."""

    def tokens(**counts: object) -> bytes:
        return whole("42", usage=counts)

    return [
        right("usage as texts (some Java gateways)", tokens(prompt_tokens="900", completion_tokens="3")),
        right("counts that are no numbers", tokens(prompt_tokens="many", completion_tokens={})),
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
        right(
            "cache_read_input_tokens (LiteLLM, Bedrock)",
            tokens(prompt_tokens=4, completion_tokens=3, cache_read_input_tokens=900),
        ),
        right(
            "usage in every chunk",
            stream(part("4", usage=COUNTS), part("2", usage=COUNTS), part({}, "stop")),
            kind=EVENTS,
        ),
        right(
            "a word that fills a limit of one token",
            whole("42", usage={"prompt_tokens": 900, "completion_tokens": 1}),
            options=("--max-tokens", "1"),
        ),
        right(
            "more tokens than were allowed (a server without limit)",
            whole("42", usage={"prompt_tokens": 900, "completion_tokens": 3000}),
            options=("--max-tokens", "1024"),
        ),
    ]


def worded() -> list[Row]:
    """Where and how the text stands."""
    texts = [{"type": "text", "text": "4"}, {"type": "text", "text": "2"}]
    thinks = {"type": "thinking", "thinking": [{"type": "text", "text": "17?"}]}
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
    turned = "The number that stands in the coloured place is 42."
    return [
        right("content as parts", whole({"content": texts})),
        right("a thought among the parts (Mistral)", whole({"content": [thinks, texts[0], texts[1]]})),
        right(
            "parts in deltas", stream(part({"content": [texts[0]]}), part({"content": [texts[1]]}, "stop")), kind=EVENTS
        ),
        right(
            "delta as text", stream({"choices": [{"index": 0, "delta": "42", "finish_reason": "stop"}]}), kind=EVENTS
        ),
        right("an empty error in every answer", whole("42", error={"code": None, "message": ""})),
        right("message beside an empty delta", encoded({"choices": [{"delta": {}, **choice("42")}]})),
        right(
            "the whole message after its deltas",
            stream(
                part("4"), part("2"), {"choices": [{"index": 0, "message": {"content": "42"}, "finish_reason": "stop"}]}
            ),
            kind=EVENTS,
        ),
        right(
            "cumulative deltas (DashScope without incremental_output)",
            stream("<answer>", "<answer>4", "<answer>42", "<answer>42</answer>"),
            kind=EVENTS,
        ),
        Row("the whole text in the last delta", stream(turned[:30], turned[30:], turned), turned, kind=EVENTS),
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
        right(
            "harmony, a remark before the answer",
            whole(
                f"{thought}<|start|>assistant<|channel|>commentary<|message|>I look.<|end|><|start|>assistant{final}42"
            ),
        ),
        right("Responses API, streamed", b"".join(map(event, (delta, {**delta, "delta": "2"}, ended))), kind=EVENTS),
        right("thought in a field, 17", whole({"content": "42", "reasoning_content": "It could be 17."})),
        right("thought in both fields", whole({"content": "42", "reasoning": "17?", "reasoning_content": "17?"})),
        right("finish reason as an object", whole("42", {"type": "stop"})),
        right(
            "empty choices first (Azure's prompt filter)",
            stream(
                {"choices": [], "prompt_filter_results": [{"content_filter_results": {"hate": {"filtered": False}}}]},
                part("42", "stop"),
            ),
            kind=EVENTS,
        ),
        right(
            "filter results that filter nothing",
            encoded(completion(choice("42", content_filter_results={"hate": {"filtered": False, "severity": "safe"}}))),
        ),
        right("unknown fields everywhere", whole({"content": "42", "x": {"y": [1]}}, timings={"a": 1}, virtual=True)),
    ]


ROWS = [*counted(), *worded()]
