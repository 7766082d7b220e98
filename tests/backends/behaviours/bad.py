"""Replies that are no answers, and errors that come with status 200."""

from behaviours.rows import DONE, EVENTS, Row, choice, completion, encoded, event, part, stream, whole

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
    call = '<|channel|>commentary to=functions.search <|constrain|>json<|message|>{"query": "42"}<|call|>'
    refusal = {"type": "refusal", "refusal": "I can't help with that."}
    turned = {"type": "message", "content": [refusal]}
    cut = {
        "object": "response",
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "The number is"}]}],
    }
    blocked = "content filter"
    return [
        empty(
            "fills max_tokens and says stop (gateways)",
            whole("The number is", usage=FULL),
            "--max-tokens",
            options=LIMIT,
        ),
        empty(
            "fills a small limit",
            whole("The number is", usage={"prompt_tokens": 900, "completion_tokens": 3}),
            "--max-tokens",
            options=("--max-tokens", "3"),
        ),
        empty("finish reason max_output_tokens", encoded(cut), "--max-tokens"),
        empty("an answer, then the same two lines to the end", whole("42\n" + (LOOP + "And a dog.\n") * 30), "repeats"),
        empty("the same paragraph, streamed", stream(*[f"{LOOP}\n"] * 30), "repeats", kind=EVENTS),
        empty("a box alone (InternVL)", whole("<box>[[100, 200, 300, 400]]</box>"), "nothing but a box"),
        empty("box tokens (Qwen-VL)", whole("<|box_start|>(100,200),(300,400)<|box_end|>"), "nothing but a box"),
        empty("an empty answer box (GLM)", whole("<|begin_of_box|><|end_of_box|>"), "nothing but a box"),
        empty("harmony without a final channel", whole(analysis), "thought without"),
        empty("harmony that calls an unknown tool", whole(call), "search"),
        empty("content null", whole({"content": None}), "empty"),
        empty("thought alone", whole({"content": None, "reasoning_content": "It could be 42?"}), "thought without"),
        empty("refusal beside a text", whole({"content": "42", "refusal": "I can't help with that."}), "i can't help"),
        empty(
            "refusal in the Responses API",
            encoded({"object": "response", "status": "completed", "output": [turned]}),
            "i can't help",
        ),
        empty(
            "refusal in pieces",
            stream(part({"refusal": "I can't "}), part({"refusal": "help."}, "stop")),
            "i can't help",
            kind=EVENTS,
        ),
        empty("finish reason content_filter (Azure)", whole("4", "content_filter"), blocked),
        empty("finish reason SAFETY (Gemini)", whole("4", "SAFETY"), blocked),
        empty("filtered in mid-stream", stream("4", part({}, "content_filter")), blocked, kind=EVENTS),
        empty("finish reason tool_calls without a call", whole("42", "tool_calls"), "no call"),
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
    died = {"error": {"message": "the runner stopped", "code": 500}}
    return [
        fails("error 502 (OpenRouter)", encoded({"error": busy}), "provider returned error"),
        fails("error in mid-stream behind the answer", stream("42", died), "runner stopped", kind=EVENTS),
        fails("error beside choices", whole("42", error={"message": "the runner stopped"}), "runner stopped"),
        fails(
            "error 429 (OpenRouter)", encoded({"error": {"message": "Rate limited upstream", "code": 429}}), "too busy"
        ),
        fails(
            "error 401 (OpenRouter)",
            encoded({"error": {"message": "No auth credentials found", "code": 401}}),
            "key",
            "no auth",
            code=3,
        ),
        fails("error of a choice beside stop", encoded(completion(choice("42", error=busy))), "provider returned"),
        fails(
            "error in mid-stream (OpenRouter)",
            stream("4", part("", "error", error=busy)),
            "provider returned",
            kind=EVENTS,
        ),
        fails(
            "event named error",
            event(part("42")) + b"event: error\ndata: the runner stopped\n\n" + DONE,
            "runner stopped",
            kind=EVENTS,
        ),
        fails(
            "Azure's filter of the prompt inside a 200",
            encoded(
                {
                    "error": {
                        "code": "content_filter",
                        "message": "The prompt triggered Azure OpenAI's content management policy.",
                    }
                }
            ),
            "content management policy",
            code=8,
        ),
        fails("detail with an error", encoded({"detail": {"error": {"message": "worker died"}}}), "worker died"),
        fails(
            "base_resp (MiniMax)",
            encoded({"choices": None, "base_resp": {"status_code": 1004, "status_msg": "login fail"}}),
            "login fail",
        ),
        fails(
            "error_msg (Baidu)",
            encoded({"error_code": 110, "error_msg": "Access token invalid"}),
            "access token invalid",
        ),
        fails(
            "object error (vLLM, older)",
            encoded({"object": "error", "message": "NaN in logits", "code": 500}),
            "nan in logits",
        ),
        fails(
            "failed response (Responses API)",
            encoded(
                {
                    "object": "response",
                    "status": "failed",
                    "output": [],
                    "error": {"code": "server_error", "message": "the runner stopped"},
                }
            ),
            "runner stopped",
        ),
        fails("Anthropic's message", encoded(anthropic), "anthropic", code=3),
        fails(
            "Anthropic's stream",
            b'event: message_start\ndata: {"type": "message_start", "message": {"id": "1", "content": []}}\n\n',
            "anthropic",
            code=3,
            kind=EVENTS,
        ),
        fails("finish reason abort (vLLM)", whole("42", "abort"), "before its answer was whole"),
        fails(
            "finish reason insufficient_system_resource (DeepSeek)",
            stream("4", part({}, "insufficient_system_resource")),
            "before its answer was whole",
            kind=EVENTS,
        ),
    ]


ROWS = [*no_answers(), *errors_inside()]
