"""HTTP errors of an endpoint as errors of virc: one sentence, the next thing to type, and whether to try again.

Servers name the same cause by many statuses and texts. `StatusError` classifies an answer for a retry; `as_error`,
after the last try, goes through the causes from the network to the request, and takes the first one that applies.
"""

import math
import re
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec

from virc.backends.openai.errors import RETRIABLE, StatusError, error_fields, is_page, title
from virc.backends.openai.images import MISSED, MissedError
from virc.backends.openai.limits import CONTEXT, PER_MINUTE, named_limit
from virc.backends.openai.refusals import RefusedError
from virc.core.errors import ConfigError, NetworkError, NoAnswerError, VircError

_NOT_OF_REQUEST = frozenset({401, 402, 403, 404, 405, 407, 429, 511})  # the request itself is not the cause
_MAX_WAIT = 7 * 86_400  # seconds; the longest quotas are weekly
_I = re.IGNORECASE
_NO_VISION_MODEL = re.compile(r"no endpoints[^.]{0,40}image", _I)  # OpenRouter
_LOADING = re.compile(
    r"\bload(?:ing|ed yet)|warming up|starting up|still starting|not (?:yet )?ready|initiali[sz]ing", _I
)
_FAILED = re.compile(r"fail|error|unable|could not|cannot|can't", _I)
_BAD_KEY = re.compile(
    r"api[ _-]?key[^.]{0,40}(?:invalid|not valid|missing|required|incorrect|expired|not found|revoked)"
    r"|(?:invalid|incorrect|missing|expired|wrong|no|revoked)[^.]{0,20}api[ _-]?key",
    _I,
)
_KEY = re.compile(r"\bkeys?\b|token|auth|credential|permission|unauthori[sz]ed|not allowed to access|密钥|令牌", _I)
_ANTHROPIC = re.compile(r"anthropic-version|x-api-key.{0,30}(?:required|missing|must)|missing.{0,30}x-api-key", _I)
_MODEL = re.compile(
    r"invalid model|unknown model|model[^.]{0,80}(?:not found|not exist|not available|not supported|not loaded)"
    r"|(?:no|not find) (?:such )?model|no endpoints found for|model_not_found|model:|deployment",
    _I,
)
_HTTPS = re.compile(r"plain HTTP request was sent to HTTPS port|client sent an HTTP request to an HTTPS server", _I)
SMALLER_PIXELS = 1_000_000  # in hints; `backend` proposes fewer if the picture is smaller
_SEND_SMALLER = f"send smaller images: --max-pixels {SMALLER_PIXELS}"
_HINTS = (
    (
        CONTEXT + r"|inputs?\W{0,2} (?:tokens|length|must have less)|prompt is too long|超长",
        "serve it with a longer context (llama.cpp: -c, vLLM: --max-model-len), or send smaller images: --max-pixels",
    ),
    (r"image[^.]{0,60}(?:dimension|resolution|pixels)|(?:dimension|resolution|pixels)[^.]{0,60}image", _SEND_SMALLER),
    (
        r"(at most|too many|limit|maximum|only a single)[^.]{0,40}\bimage",
        "allow as many images a prompt as --max-turns and the pictures of the question together, 17 by default "
        "(vLLM: --limit-mm-per-prompt '{\"image\": 17}')",
    ),
    (
        r"mmproj|required for image input",
        "serve a vision model, and with the file of its vision tower (llama.cpp: -hf, or --mmproj)",
    ),
    (
        r"not support[^.]{0,20}\bimage|\bimage[^.]{0,20}not support|multi-?modal|no endpoints[^.]{0,40}image",
        "serve a vision model",
    ),
    (
        r"chat_template_kwargs|enable_thinking|reasoning_effort|['\"`]thinking['\"`]|support thinking",
        "leave out --thinking, or the field in --extra-body",
    ),
)


class AskedServer(msgspec.Struct, frozen=True):
    """The server that sent an error, and the hints that depend on it."""

    endpoint: str  # its address, as it is printed
    quoted: Callable[[object], str]  # formats a text of the server for a printed line
    has_key: bool  # whether a key was sent
    model_hint: str  # for a model that the server does not know
    address_hint: str | None  # for an address that is likely to be wrong; None if it looks right


def as_error(error: StatusError, server: AskedServer) -> VircError:
    """The error to raise. Each sentence ends with `quote`: the status and the quoted message of the server."""
    is_html = is_page(error.body)
    message = server.quoted(title(str(error.body)) if is_html else error.quoted)
    quote = f" ({error.code}): {message}" if message else f" ({error.code})"
    if error.is_filtered:
        return NoAnswerError(f"the server's content filter refuses the prompt{quote}")
    explained = (
        _proxy_error(error, server, quote, is_html)
        or _account_error(error, server, quote)
        or _address_error(error, server, quote, is_html)
        or _transient_error(error, server, quote)
        or _request_error(error, server, quote, message)
    )
    is_of_server = error.code in _NOT_OF_REQUEST or error.code >= 500
    explained.fails_all_requests = is_of_server or error.is_quota or error.is_limited
    return explained


def _proxy_error(error: StatusError, server: AskedServer, quote: str, is_html: bool) -> VircError | None:
    """Errors of proxies, redirects and logins in front of the endpoint."""
    code, host = error.code, urlsplit(server.endpoint).hostname
    if code < 400:
        target = server.quoted(error.headers.get("location", "nowhere"))
        return ConfigError(f"{server.endpoint} redirects to {target}", "give --endpoint the address it moved to")
    if code in {407, 511}:
        sentence = f"the proxy on the way to {server.endpoint} wants a user and a password{quote}"
        return ConfigError(sentence, f"put them in https_proxy or http_proxy, or go past it: export no_proxy={host}")
    if _HTTPS.search(str(error.body)):
        secure = server.endpoint.replace("http:", "https:", 1)
        return ConfigError(f"{server.endpoint} is asked without TLS, and wants it{quote}", f"--endpoint {secure}")
    blocks = is_html or re.match(r"error code: 1\d\d\d", error.quoted.strip()) or "x-squid-error" in error.headers
    if code in {401, 403, 405, 406, 451} and blocks:
        sentence = (
            f"a web page answers in place of {server.endpoint}: a proxy, firewall or login stands before it{quote}"
        )
        return ConfigError(sentence, f"ask who runs it; to go past a proxy of yours: export no_proxy={host}")
    return None


def _account_error(error: StatusError, server: AskedServer, quote: str) -> VircError | None:
    if is_anthropic(error):
        sentence = f"{server.endpoint} speaks Anthropic's API, and virc OpenAI's{quote}"
        return ConfigError(sentence, "give --endpoint an address with /chat/completions, such as that of a gateway")
    if error.is_quota:
        sentence = f"the quota or credit of the key at {server.endpoint} is used up{quote}"
        hint = "add credit where you got the key, or set VIRC_API_KEY (in Python: api_key=) to another"
        return ConfigError(sentence, hint)
    if error.is_limited:
        return None
    is_denied = error.code == 403 and (not error.quoted or _KEY.search(error.quoted))
    if error.code == 401 or is_denied or (error.code in {400, 403, 422} and _BAD_KEY.search(error.quoted)):
        verb = "refuses the key" if server.has_key else "wants a key"
        hint = "set VIRC_API_KEY (in Python: api_key=) to a key it accepts"
        asked = f"{error.quoted} {error.headers.get('www-authenticate')}"
        if re.search(r"subscription|api-key header|basic", asked, _I):
            hint += "; a key in a header of its own: export VIRC_HEADERS='api-key: KEY'"
        return ConfigError(f"{server.endpoint} {verb}{quote}", hint)
    if error.code == 403:
        return ConfigError(
            f"{server.endpoint} forbids the request{quote}", "see what its provider allows the key to do"
        )
    return None


def _address_error(error: StatusError, server: AskedServer, quote: str, is_html: bool) -> VircError | None:
    """Errors of a wrong path or an unknown model."""
    if error.code not in {404, 405, 410}:
        return None
    sentence = f"does not know what was requested{quote}"
    hint: str | None = server.address_hint or server.model_hint
    if _NO_VISION_MODEL.search(error.quoted):
        sentence, hint = f"has no model for pictures{quote}", _hint(error.quoted)
    elif not is_html and _MODEL.search(error.quoted):
        sentence, hint = f"does not serve the model{quote}", server.model_hint
    return RefusedError(f"{server.endpoint} {sentence}", hint, error.quoted, None)


def _transient_error(error: StatusError, server: AskedServer, quote: str) -> VircError | None:
    code = error.code
    if code not in RETRIABLE and not error.is_limited and (code < 500 or error.is_permanent):
        return None
    if code == 429 and error.is_too_large:
        return ConfigError(f"{server.endpoint} takes no request of this size{quote}", _SEND_SMALLER)
    hint = _hint(error.quoted)
    if code >= 500 and _LOADING.search(error.quoted) and not _FAILED.search(error.quoted):
        return NetworkError(f"{server.endpoint} is still loading its model{quote}", "wait, then the same command")
    if 0 < error.wait < _MAX_WAIT:
        hint = f"it asks to wait for {math.ceil(error.wait)} s"
    busy = NetworkError(
        f"{server.endpoint} {'is too busy' if code in RETRIABLE or error.is_busy else 'fails'}{quote}", hint
    )
    busy.wait = error.wait if error.is_busy else None
    return busy


def _request_error(error: StatusError, server: AskedServer, quote: str, message: str) -> VircError:
    hint = server.model_hint if _MODEL.search(message) else _hint(message)
    sentence = f"{server.endpoint} refuses the request{quote}"
    is_large = error.code == 413 and not PER_MINUTE.search(error.quoted)
    side, area = named_limit("side", error.quoted), named_limit("area", error.quoted)
    if is_large or named_limit("bytes", error.quoted) or side or area:
        sentence, hint = f"{server.endpoint} takes no images of this size{quote}", _SEND_SMALLER
    if side:  # a picture of that area and twice as wide as high has that side
        hint = f"the side is limited to {side} pixels: --max-pixels {side * side // 2}"
    elif area:
        hint = f"a picture is limited to {area} pixels: --max-pixels {area}"
    if MISSED in message.lower():
        return MissedError(sentence, hint)
    parameter = error_fields(error.body).get("param")
    return RefusedError(sentence, hint, message, parameter if isinstance(parameter, str) else None, is_large)


def is_anthropic(error: StatusError) -> bool:
    """Whether the server has only Anthropic's API: it requires that API's headers, or does not know the path."""
    body = error.body
    is_error_object = isinstance(body, dict) and body.get("type") == "error" and isinstance(body.get("error"), dict)
    is_unknown_path = error.code in {404, 405} and is_error_object and "model" not in error.quoted.lower()
    return is_unknown_path or bool(_ANTHROPIC.search(error.quoted))


def _hint(message: str) -> str | None:
    return next((hint for pattern, hint in _HINTS if re.search(pattern, message, _I)), None)
