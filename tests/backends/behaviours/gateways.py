"""What gateways and chat templates add to an answer, leave of it, or refuse before they give it."""

from behaviours.rows import (
    EVENTS,
    HTML,
    NDJSON,
    Json,
    Row,
    choice,
    completion,
    encoded,
    error,
    event,
    page,
    part,
    stream,
    whole,
)

BOX = '{"bbox_2d": [10, 20, 30, 40]}'
CROP = '{"bbox_2d": [10, 10, 200, 200], "image_index": 0}'

TAGGED = f'<tool_call>{{"name": "crop_image", "arguments": {CROP}}}</tool_call>'


def right(name: str, body: bytes | list[bytes], **more: object) -> Row:
    return Row(name, body, "42", **more)  # type: ignore[arg-type]


def after(name: str, status: int, body: bytes, answer: bytes | None = None, **headers: str) -> Row:
    """A first response, and the answer to the second request."""
    return right(name, answer or whole("42"), before=[(status, body, headers)], chats=2)


def framed() -> list[Row]:
    """Bodies and what stands around a completion."""
    inner = completion(choice("42"))
    ollama: list[Json] = [{"message": {"role": "assistant", "content": each}, "done": False} for each in ("4", "2")]
    ended: Json = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    nan = encoded(part("42", "stop")).replace(b'"index"', b'"logprobs": [NaN, -Infinity], "index"')
    halves = [event(b'{"choices":[{"delta":{"content":"%s"}}]}' % half) for half in (b"\\ud83d", b"\\ude00")]
    return [
        right("envelope data (Chinese gateways)", encoded({"code": 0, "message": "success", "data": inner})),
        right("Ollama's own API", b"\n".join(map(encoded, [*ollama, ended])), kind=NDJSON),
        right("JSON within JSON", encoded(encoded(inner).decode())),
        right("NaN and -Infinity (Python)", event(nan) + event(b"[DONE]"), kind=EVENTS),
        Row("halves of a character", b"".join(halves) + event(part("42", "stop")), "😀42", kind=EVENTS),
        right("JSON text sequence (RFC 7464)", b"".join(b"\x1e" + encoded(part(*each)) + b"\n"
                                                         for each in (("4",), ("2", "stop")))),
        right(
            "text beside delta (Together)",
            stream(*({"choices": [{"index": 0, "text": each, "delta": {"content": each}}]} for each in ("4", "2"))),
            kind=EVENTS,
        ),
    ]  # fmt: skip


def leaked() -> list[Row]:
    """Thoughts and marks of turns that a server leaves in the content."""
    return [
        right("<thought> (Gemini)", stream("<thought>17?", "</thought>", "42"), kind=EVENTS),
        Row("<thought> without end", whole("<thought>17?"), None, 8, ("thought",)),
        right("header of the turn (Qwen)", whole("<|im_start|>assistant\n42<|im_end|>")),
        right("the next turn", whole("42<|im_end|>\n<|im_start|>user\nAnd 17?<|im_end|>")),
        Row("a box as JSON", whole(f"```json\n[{BOX}]\n```"), None, 8, ("nothing but a box",)),
        Row(
            "a box with a label",
            whole('{"bbox_2d": [1, 2, 3, 4], "label": "42"}'),
            '{"bbox_2d": [1, 2, 3, 4], "label": "42"}',
        ),
    ]


def called() -> list[Row]:
    """Tool calls, each followed by the answer."""

    def calls(name: str, *deltas: object, message: object = None, refused: bytes = b"") -> Row:
        streamed = stream(*(part({"tool_calls": each}) for each in deltas), part({}, "tool_calls"))
        body = whole(message, "tool_calls") if message else streamed
        first = (400, refused, {}) if refused else (200, body, {})
        return right(name, whole("42"), before=[first], chats=2, words=("of image 0: image 1",),
                     options=("--family", "qwen2.5-vl"))  # fmt: skip

    name, pieces = "crop_image", (CROP[:20], CROP[20:])
    first = {"id": "c", "function": {"name": name, "arguments": pieces[0]}}
    whole_call = {"id": "c", "function": {"name": name, "arguments": CROP}}
    return [
        calls("one call in no list", message={"tool_calls": whole_call}),
        calls(
            "a part of the content (Anthropic)",
            message={"content": [{"type": "tool_use", "id": "c", "name": name, "input": {"bbox_2d": [9, 9, 99, 99]}}]},
        ),
        calls(
            "a call that could not be read (Groq)",
            refused=error("Failed to call a function.", code="tool_use_failed", failed_generation=f"I look.\n{TAGGED}"),
        ),
        calls("pieces without index and id", [first], [{"function": {"arguments": pieces[1]}}]),
        calls(
            "all arguments so far",
            *([{"index": 0, "function": {"name": name, "arguments": CROP[:end]}}] for end in (9, 20, None)),
        ),
    ]  # fmt: skip


def tried_again() -> list[Row]:
    """What a second request is answered to."""
    busy = encoded({"error": {"message": "Overloaded", "type": "overloaded_error"}})
    limit = "max_tokens: 4096 > 1024, which is the maximum allowed number of output tokens"
    return [
        after("broken off", 200, stream("1", done=False).replace(b'"stop"', b"null")),
        after("overloaded in mid-stream", 200, event(part("1")) + event(busy)),
        after("Retry-After as a date (RFC 9110)", 429, b"{}", **{"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        after("redirect on the same server", 307, b"", Location="/v1/chat/completions"),
        after("system role (Gemma)", 400, error("System role not supported")),
        after("413 without a number (nginx)", 413, page("413 Request Entity Too Large"), **{"Content-Type": HTML}),
        after("unloaded (LM Studio)", 400, encoded({"error": "Model unloaded."})),
        after("nothing generated (Groq)", 400, error("Failed", code="tool_use_failed", failed_generation="")),
        after("canceled (LM Studio)", 400, error("Operation canceled")),
        after("text behind a wrapper (OpenRouter)", 400, error("Provider returned error", metadata={"raw": limit})),
        after("JSON in a message", 400, error(error('Unsupported value: "temperature"').decode())),
        after("bytes without a unit (DashScope)", 400, error("Exceeded limit on max bytes per data-uri item : 200000")),
    ]  # fmt: skip


ROWS = [*framed(), *leaked(), *called(), *tried_again()]
