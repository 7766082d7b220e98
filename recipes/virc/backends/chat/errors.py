"""What a server says where it gives no reply: errors in bodies of any of the usual shapes, and by HTTP statuses.

`error_fields` and `error_text` find what a body says, `failed` and `unreadable` make an error of it. `StatusError` says
what the error means for another try; `causes` makes errors of virc of it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from virc.backends.chat.providers import says
from virc.config.taken import left
from virc.core.http.waiting import seconds_asked

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
    """An answer with an HTTP status that is not a success, or with an error that stands for one.

    Attributes:
        fields: of the error in the body.
        further: the texts of the body that its sentence does not have.
        wait: seconds that the server asks to wait before another try; 0 if it asks for none.
        is_quota: the quota or credit is used up, which waiting does not change.
        is_limited: the text reports a rate limit, in spite of a status that does not.
        is_too_large: a rate limit that the request alone exceeds.
        is_busy: the server may answer after a while.
        is_filtered: a content filter refuses the prompt, by an error code or by the name of a field.
    """

    def __init__(self, code: int, headers: Mapping[str, str], body: object) -> None:
        super().__init__("failed", error_text(body), True)
        self.code, self.headers, self.body, self.fields = code, headers, body, error_fields(body)
        self.further = further_text(body)
        self.wait = seconds_asked(headers, str(body)) or 0.0
        fields = self.fields
        text = " ".join(map(str, (self.quoted, fields.get("code"), fields.get("type"), fields.get("status"))))
        is_of_quota = code in {400, 401, 403, 429} and says("quota", text) and not says("ends soon", text)
        self.is_quota = code == 402 or "insufficient_quota" in text or is_of_quota
        self.is_limited = code in {400, 403} and not self.is_quota and says("rate limit", text)
        self.is_too_large = says("request too large", self.quoted)
        is_full = code in GATEWAY and (says("overloaded", text) or says("rate limit", text))
        self.is_busy = code in {429, 529} or self.wait > 0 or is_full or self.is_limited
        names: list[object] = [fields.get(name) for name in ("code", "type", "status", "innererror")]
        names += [list(each) for each in (body, fields.get("metadata")) if isinstance(each, dict)]
        self.is_filtered = code in {400, 403, 422} and says("filter", str(names))

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later."""
        if self.is_quota or self.is_too_large or says("permanent", self.quoted):
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
        inner = _unpacked(metadata.get("raw")) if isinstance(metadata, dict) else None  # OpenRouter's
        if isinstance(inner, str) and inner.strip() and not is_page(inner):
            return {**body, "message": inner}
        if not isinstance(inner, dict | list):
            first = next((body[key] for key in ("error", *_WRAPS) if body.get(key)), None)
            within = map(_unpacked, (first, body.get("message")))
            inner = next((each for each in within if isinstance(each, dict | list)), None)
        is_list_of_details = isinstance(inner, list) and inner is body.get("detail")
        if not isinstance(inner, dict | list) or is_list_of_details:
            return body
        body = inner
    return {}


def _unpacked(value: object) -> object:
    """The object or list that a text is as JSON; else the value."""
    return parsed(value.encode(errors="replace")) if isinstance(value, str) and value.lstrip()[:1] in {*"{["} else value


def error_text(body: object) -> str:
    """The sentence inside an error body of any of the usual shapes, as it came; a page for browsers has none."""
    sentence: object = error_fields(body) or body
    for key in _SENTENCES:
        if isinstance(sentence, dict) and sentence.get(key):
            sentence = sentence[key]
    text = str(sentence or "")
    return "" if _PAGE.match(text) else text


def further_text(body: object) -> str:
    """The texts of an error body that its sentence does not contain: the reason often stands beside it."""
    said = error_text(body)
    texts = dict.fromkeys(text for text in _texts(body) if text not in said) if isinstance(body, dict | list) else {}
    return "; ".join(texts)


def _texts(value: object) -> Iterator[str]:
    """The texts and numbers of nested objects, also of those that are JSON in a text, without what is harmless."""
    if isinstance(value, dict):
        for name in left("error", value, ()):
            is_number = type(value[name]) in (int, float) and name not in _CODES
            yield from [f"{name} {value[name]}"] if is_number else _texts(value[name])
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        inner = _unpacked(value)
        yield from _texts(inner) if isinstance(inner, dict | list) else [value.strip()]


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
    elif further := further_text(body):
        text += f" ({further})"
    return WireError("failed", text, True)


def _status(body: object) -> int:
    """The HTTP status that an error's code or type stands for; 0 if it names none."""
    fields = error_fields(body) or (body if isinstance(body, dict) else {})
    codes = [fields.get(key) for key in ("code", "status", "status_code", "statusCode", "type")]
    for code in codes:
        if str(code).isdecimal() and 400 <= int(str(code)[:9]) < 600:
            return int(str(code))
    words = " ".join(code for code in codes if isinstance(code, str)).lower()
    return next((code for word, code in _STATUSES if word in words), 0)


def unreadable(data: bytes) -> WireError:
    """The error of a body that is not what was requested; it says what the body is instead."""
    body = parsed(data)
    if isinstance(body, str):
        if not body.strip():
            return WireError("sent an empty body", broken=True)
        if is_page(body):
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
