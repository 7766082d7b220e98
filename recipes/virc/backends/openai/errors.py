"""What a server says where it gives no reply: errors in bodies of any of the usual shapes, and by HTTP statuses.

`error_fields` and `error_text` find what a body says, `failed` and `unreadable` make an error of it. `StatusError`
classifies an error for a retry; `causes` makes errors of virc of them.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from virc.backends.openai.limits import CONTEXT
from virc.core.retry import seconds_asked

_I = re.IGNORECASE
_MAX_WRAPS = 6
_SUCCESS = re.compile(r"(?:success(?:ful(?:ly)?)?|succeeded|ok|done)?\W*", re.IGNORECASE)
_CODES = ("code", "status", "status_code", "statusCode", "error_code", "errorCode", "errcode", "err_code")
_FAILURE = re.compile(r"error|fail|abort|cancel|reject|denied|time.?out|exceed|unavailable|overload", re.IGNORECASE)
_WRAPS = ("errors", "detail", "base_resp", "Response", "Error")
"""Keys that hold another error body, in addition to `error`."""
_SENTENCES = (
    "error", "message", "detail", "msg", "error_msg", "error_message", "status_msg", "Message", "reason",
)  # fmt: skip
_STATUSES = (
    ("authentication", 401), ("unauthenticated", 401), ("invalid_api_key", 401), ("unauthorized", 401),
    ("permission", 403), ("not_found", 404), ("insufficient_quota", 402), ("billing", 402), ("too_large", 413),
    ("rate_limit", 429), ("resource_exhausted", 429), ("overloaded", 529), ("server_error", 500),
    ("invalid_request", 400), ("invalid_argument", 400), ("badrequest", 400), ("content_filter", 400),
)  # fmt: skip
"""HTTP statuses of errors, by a part of their type or code in lower case."""
_PAGE = re.compile(r"\s*(?:<!--.{0,400}?-->\s*)?<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{1,300})", re.IGNORECASE)
_TAGS = re.compile(r"<[^<>]{0,300}>")
_MAX_PAGE = 8192  # characters that are looked at

RETRIABLE = frozenset({408, 409, 425, 429, 529})
GATEWAY = frozenset({502, 503, 504})
_PERMANENT = re.compile(
    r"image input is not supported|required for image input|not support image"
    rf"|(?:exceed\w*|larger than|longer than)[^.]{{0,40}}context|{CONTEXT}[^.]{{0,20}} exceeded"
    r"|limit-mm-per-prompt|at most \d+ (?:image|picture)",
    _I,
)
"""Errors that a retry does not change, such as a full context; llama.cpp, Ollama and Xinference send them with 500."""
_QUOTA = re.compile(
    r"insufficient[_ ](?:quota|balance|credits?|funds)|exceeded your current quota|quota (?:is )?(?:exhausted|used up)"
    r"|credit balance|balance is (?:too low|not enough)|out of credits?|more credits|no credits|payment required"
    r"|billing|spend(?:ing)? limit|in arrears|arrearage|overdue|prepaid|余额不足|欠费|额度不足|配额",
    _I,
)
_ENDS_SOON = re.compile(
    r"per (?:minute|second|hour)|\b[RT]P[MS]\b|(?:retry|try again|reset)s? (?:in|after) (?:\d|about)", _I
)
"""A rate limit, which ends by itself, in contrast to a used up quota."""
_RATE_LIMITED = re.compile(
    r"rate.?limit|throttl|too many (?:\w+ )?requests|slow down|requests? (?:rate|too frequent)|请求过于频繁|限流", _I
)
_OVERLOADED = re.compile(r"(?i:overload|\bbusy\b|capacity|too many requests|throttl|rate.?limit)|\bUNAVAILABLE\b")
_REQUEST_TOO_LARGE = re.compile(r"request too large|too large for (?:model|gpt)|must be reduced", _I)
_FILTER = re.compile(
    r"content.?(?:filter|policy)|responsible.?ai|inspection|moderation|flagged|prohibited.?content", _I
)


class WireError(Exception):
    """The server's part of the exchange went wrong.

    Args:
        message: the sentence after the endpoint's name.
        quoted: what the server sent, unchanged: it may contain the key, or control characters of a terminal.
        broken: its answer ended before it was whole, as if the server was ended.
    """

    def __init__(self, message: str, quoted: str = "", broken: bool = False) -> None:
        super().__init__(message)
        self.quoted, self.broken, self.is_page = quoted, broken, False


class StatusError(WireError):
    """An answer with an HTTP status that is not a success, or with an error that stands for one."""

    def __init__(self, code: int, headers: Mapping[str, str], body: object) -> None:
        super().__init__("failed", error_text(body), True)
        self.code, self.headers, self.body = code, headers, body

    @property
    def wait(self) -> float:
        """Seconds that the server asks to wait before a retry; 0 if it asks for none."""
        return seconds_asked(self.headers, str(self.body)) or 0.0

    @property
    def is_busy(self) -> bool:
        is_full = self.code in GATEWAY and bool(_OVERLOADED.search(self._codes_and_text))
        return self.code in {429, 529} or self.wait > 0 or is_full or self.is_limited

    @property
    def is_limited(self) -> bool:
        """Whether the text reports a rate limit, in spite of a status that does not."""
        return self.code in {400, 403} and not self.is_quota and bool(_RATE_LIMITED.search(self._codes_and_text))

    @property
    def _codes_and_text(self) -> str:
        fields = error_fields(self.body)
        return " ".join(map(str, (self.quoted, fields.get("code"), fields.get("type"), fields.get("status"))))

    @property
    def is_filtered(self) -> bool:
        """Whether a content filter refuses the prompt, by an error code or by the name of a field."""
        fields = error_fields(self.body)
        names = [fields.get(name) for name in ("code", "type", "status", "innererror")]
        names += [list(each) for each in (self.body, fields.get("metadata")) if isinstance(each, dict)]
        return self.code in {400, 403, 422} and bool(_FILTER.search(str(names)))

    @property
    def is_quota(self) -> bool:
        """Whether the quota or credit is used up, which waiting does not change."""
        text = self._codes_and_text
        if self.code == 402 or "insufficient_quota" in text:
            return True
        return self.code in {400, 401, 403, 429} and bool(_QUOTA.search(text)) and not _ENDS_SOON.search(text)

    @property
    def is_permanent(self) -> bool:
        return bool(_PERMANENT.search(self.quoted))

    @property
    def is_too_large(self) -> bool:
        """Whether it reports a rate limit that the request alone exceeds."""
        return bool(_REQUEST_TOO_LARGE.search(self.quoted))

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later."""
        if self.is_permanent or self.is_quota or self.is_too_large:
            return False
        should_retry = self.headers.get("x-should-retry")  # sent by OpenAI
        if should_retry in ("true", "false"):
            return should_retry == "true"
        return self.code in RETRIABLE or self.is_limited or (self.code >= 500 and self.code not in {501, 505, 511})


def error_fields(body: object) -> dict[str, Any]:
    """The innermost object of an error body: servers nest errors in objects, in lists, and in JSON that is a text."""
    for _ in range(_MAX_WRAPS):
        if isinstance(body, list) and len(body) == 1:
            body = body[0]
        if not isinstance(body, dict):
            break
        metadata = body.get("metadata")
        raw = metadata.get("raw") if isinstance(metadata, dict) else None
        inner = None
        with suppress(ValueError, RecursionError):
            inner = msgspec.json.decode(raw) if isinstance(raw, str) else None
        inner = inner or body.get("error") or next((body[key] for key in _WRAPS if body.get(key)), None)
        is_list_of_details = isinstance(inner, list) and inner is body.get("detail")
        if not isinstance(inner, dict | list) or is_list_of_details:
            return body
        body = inner
    return {}


def error_text(body: object) -> str:
    """The sentence inside an error body of any of the usual shapes, as it came; a page for browsers has none."""
    sentence: object = error_fields(body) or body
    for key in _SENTENCES:
        if isinstance(sentence, dict) and sentence.get(key):
            sentence = sentence[key]
    text = str(sentence or "")
    return "" if _PAGE.match(text) else text


def reported(body: object) -> bool:
    """Whether what came in place of a part of a reply reports an error; `{"code": 0, "message": "OK"}` does not."""
    fields = error_fields(body)
    sentence = next((fields[key] for key in _SENTENCES if fields.get(key)), "")
    codes = {name: str(fields[name]) for name in _CODES if fields.get(name) is not None}
    is_called_error = "error" in (fields.get("object"), fields.get("type")) or fields.get("success") is False
    reports_success = not {"0", "200"}.isdisjoint(codes.values()) or _SUCCESS.fullmatch(str(sentence))
    return is_called_error or not reports_success or any(_is_of_error(name, code) for name, code in codes.items())


def _is_of_error(name: str, code: str) -> bool:
    """Whether a code, in a field of that name, is that of an error. A status in words is mostly one of work that is not
    finished, such as `running`.
    """
    if code.removeprefix("-").isdecimal():
        number = int(code[:9])
        is_success = number == 0 or 200 <= number < 300
        return number >= 400 or number < 0 or not (is_success or "status" in name)
    return bool(_FAILURE.search(code)) or ("status" not in name and not _SUCCESS.fullmatch(code))


def failed(body: object) -> WireError:
    """The error that a server reports in the body of an answer with a status of success."""
    status, text = _status(body), error_text(body)
    if 400 <= status < 500 or status == 529:
        return StatusError(status, {}, body)
    if isinstance(body, dict) and text == str(body):
        text = msgspec.json.encode(body).decode()
    return WireError("failed", text, True)


def unreadable(data: bytes) -> WireError:
    """The error of a body that is not what was requested; it says what the body is instead."""
    body = parsed(data)
    if isinstance(body, str):
        if not body.strip():
            return WireError("sent an empty body", broken=True)
        if _PAGE.match(body):
            error = WireError("sent a web page in place of JSON", title(body))
            error.is_page = True
            return error
    elif reported(body):
        return failed(body)
    return WireError("sent something that cannot be read", data[:2048].decode(errors="replace"))


def title(page: str) -> str:
    found = _TITLE.search(page[:_MAX_PAGE])
    return found[1] if found else _TAGS.sub(" ", page[:_MAX_PAGE])


def is_page(body: object) -> bool:
    return isinstance(body, str) and bool(_PAGE.match(body))


def parsed(data: bytes) -> Any:
    """The JSON value of a body, also with NaN and halves of characters; its text if it is none."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    with suppress(ValueError, RecursionError):  # nesting deeper than the interpreter's limit raises the latter
        return msgspec.json.decode(data)
    with suppress(ValueError, RecursionError):
        return json.loads(data.decode(errors="surrogateescape"))
    return data.decode(errors="replace")


def _status(body: object) -> int:
    """The HTTP status that an error's code or type stands for; 0 if it names none."""
    fields = error_fields(body) or (body if isinstance(body, dict) else {})
    codes = [fields.get(key) for key in ("code", "status", "status_code", "statusCode", "type")]
    for code in codes:
        if str(code).isdecimal() and 400 <= int(str(code)[:9]) < 600:
            return int(str(code))
    words = " ".join(code for code in codes if isinstance(code, str)).lower()
    return next((code for word, code in _STATUSES if word in words), 0)
