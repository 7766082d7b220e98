"""What a refusal means: an error of virc with one sentence and the next thing to type, and what to send less of.

`as_error` goes through the causes from the network to the request, and takes the first one that applies. Servers name
the same cause by many statuses and texts; their words are in `providers`.
"""

import math
import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import msgspec

from virc.backends.chat.errors import RETRIABLE, StatusError, is_page, title
from virc.backends.chat.providers import HINTS, LIMITS, NUMBER_WORDS, SEND_SMALLER, TOO_LARGE, LimitKind, says
from virc.core.errors import ConfigError, NetworkError, NoAnswerError, VircError

LENGTHS = ("max_tokens", "max_completion_tokens")
SYSTEM = "system"
"""The message of that role, which some chat templates refuse (Gemma, older Mistral): the user's then holds its text."""
OPTIONAL = (
    "top_k", "min_p", "seed", "stream_interval", "stream_options", "repetition_penalty", "repeat_penalty",
    "repeat_last_n", "include_stop_str_in_output", "no_stop_trim", "stop", "temperature", "top_p", "stream",
    "response_format", SYSTEM, *LENGTHS,
)  # fmt: skip
"""What a request can do without: the model then draws by the server's own defaults."""
MISSED = "cache miss for image"
"""Part of vLLM's error for an unknown id of an image, in lower case."""
_NOT_OF_REQUEST = frozenset({401, 402, 403, 404, 405, 407, 429, 511})  # the request itself is not the cause
_MAX_WAIT = 7 * 86_400  # seconds; the longest quotas are weekly
_PROMPT_IS = re.compile(
    r"(\d{1,8}) (?:in (?:the messages|your prompt)|of text input|input tokens|prompt tokens|tokens (?:in|from))"
    r"|prompt (?:contains|has)\D{0,20}(\d{1,8})|given: (\d{1,8}) .?inputs",
    re.IGNORECASE,
)
_MIN_ROOM = 128  # tokens of a reply
_WORDS = frozenset({"stream", "stop", "seed", "temperature"})  # parameters whose names are usual words


class RefusedError(ConfigError):
    """The endpoint refuses a request because of its content.

    Args:
        said: the server's sentence.
        parameter: which one it names as the cause, if any.
        too_large: whether its status says that the request has too many bytes.

    Attributes:
        is_full: the conversation has too many tokens or pictures.
        is_of_missing_image: it does not know an image that was sent by its id alone.
    """

    def __init__(
        self, message: str, hint: str | None, said: str, parameter: str | None = None, too_large: bool = False
    ) -> None:
        super().__init__(message, hint)
        self.said, self.parameter, self.too_large = said, parameter, too_large
        self.drawn: object = None  # the model's text, where the server could not read it, as Groq sends it
        is_of_count = named_limit("pictures", said) or (says("pictures", said) and says("too many", said))
        self.is_full = bool(says("full", said) or is_of_count)
        self.is_of_missing_image = MISSED in said.lower()

    def own_fields(self, sent: set[str]) -> set[str]:
        """Which of the server's own fields of tool calls that were `sent` back it refuses: those it names, else all."""
        if named := {name for name in sent if re.search(rf"\b{re.escape(name)}\b", self.said)}:
            return set() if re.search(r"missing|required", self.said, re.IGNORECASE) else named
        return sent if says("refuses", self.said) and re.search(r"messages?\b|tool_calls", self.said) else set()

    def parameters(self) -> Iterator[str]:
        """The parameters that it refuses, of those that a request can do without."""
        said = self.said
        if self.parameter in OPTIONAL:
            yield self.parameter
            return
        if says("too long", said) or not says("refuses", said):
            return
        matches = [(re.search(_mention_of(name), said), name) for name in OPTIONAL]
        mentions = [(match.start(), name) for match, name in matches if match]
        # "'max_tokens' is not supported: use 'max_completion_tokens' instead" names what it wants as well.
        instead = re.search(r"\b(?:use|try)\b", said, re.IGNORECASE)
        for position, name in sorted(mentions):
            if name == "temperature" and "both" in said:  # of temperature and top_p, top_p is left out
                continue
            if not instead or position < instead.start() or len(mentions) == 1:
                yield name


def _mention_of(name: str) -> str:
    """A pattern that finds a parameter in a sentence; if its name is a usual word, only in quotes or in a list."""
    if name == SYSTEM:
        return r"(?i:system (?:role|message|instruction|prompt)|developer instruction|roles are|roles must alternate)"
    if name not in _WORDS:
        return rf"\b{name}\b"
    marked = rf"['\"`]{name}['\"`]|\b{name}=" + (r"|\b[Ss]treaming\b" if name == "stream" else "")
    listed = (
        r"(?i:parameter|argument|field|property|name|supplied|invalid)s?:? +(?:[\w'\"`\\]+(?:, *(?:and )?| and +))*"
    )
    return rf"{marked}|{listed}['\"`\\]*{name}\b"


def named_limit(kind: LimitKind, said: str, sent: float = math.inf) -> int | None:
    """Return the limit of a kind that a refusal names, below what was `sent`; None: it names none."""
    patterns, about, other, anywhere, least = LIMITS[kind]
    is_about = re.search(about, said, re.IGNORECASE) and (not about or re.search(TOO_LARGE, said, re.IGNORECASE))
    if not is_about or re.search(other, said, re.IGNORECASE):
        return None
    for pattern in (*patterns, anywhere):
        numbers = map(_value, re.finditer(pattern, said, re.IGNORECASE))
        if fitting := [number for number in numbers if least <= number < sent]:
            return min(fitting) if pattern == anywhere else fitting[0]
    return None


def _value(match: re.Match[str]) -> int:
    """The number in a match; of two sides the smaller."""
    groups = match.groupdict()
    numbers = [text.lower() for name in "nm" if (text := groups.get(name))]
    scale = {"k": 1000, "m": 1_000_000}.get((groups.get("unit") or " ")[0].lower(), 1)
    return int(min(float(NUMBER_WORDS.get(text) or re.sub("[,_]", "", text)) for text in numbers) * scale)


def shortened(max_tokens: int, refused: RefusedError) -> int | None:
    """The limit of tokens for a reply that a server names when it refuses a higher one.

    It names it itself, or the lengths of the context and the prompt. None: it names none, or hardly any token is left.
    """
    longest, prompt = named_limit("context", refused.said), _PROMPT_IS.search(refused.said)
    room = (named_limit("reply", refused.said) or 0) - ("(exclusive)" in refused.said)  # Google's
    if longest and prompt:
        room = longest - int(prompt[prompt.lastindex or 0])
    return room if _MIN_ROOM <= room < max_tokens else None


def halved(max_tokens: int, refused: RefusedError) -> int | None:
    """Half the limit of tokens for a reply, if a refusal is about it; None: it is about something else."""
    is_of_prompt = says("too long", refused.said) or says("context", refused.said)
    is_refused = says("reply length", refused.said) and not is_of_prompt
    return max_tokens // 2 if is_refused and max_tokens >= 2 * _MIN_ROOM else None


def fewer_pictures(said: str, count: int) -> int | None:
    """A guess of how many pictures to send after a refusal of `count`; None: it is about something else."""
    is_of_count = says("pictures", said) and (
        says("too many", said) or re.search("only|more than|support", said.lower())
    )
    return max(1, count // 4) if is_of_count or says("full", said) else None


class AskedServer(msgspec.Struct, frozen=True):
    """The server that sent an error, and the hints that depend on it."""

    endpoint: str  # its address, as it is printed
    quoted: Callable[[object], str]  # formats a text of the server for a printed line
    has_key: bool  # whether a key was sent
    model_hint: str  # for a model that the server does not know
    address_hint: str | None  # for an address that is likely to be wrong; None if it looks right


def as_error(error: StatusError, server: AskedServer) -> VircError:
    """The error to raise. Each sentence ends with `quote`: the status and the quoted message of the server."""
    message = server.quoted(title(str(error.body)) if is_page(error.body) else error.quoted)
    quote = f" ({error.code}): {message}" if message else f" ({error.code})"
    quote += f" ({server.quoted(error.further)})" if error.further else ""
    if error.is_filtered:
        return NoAnswerError(f"the server's content filter refuses the prompt{quote}")
    explained = (
        _proxy_error(error, server, quote)
        or _account_error(error, server, quote)
        or _address_error(error, server, quote)
        or _transient_error(error, server, quote)
        or _request_error(error, server, quote, message)
    )
    is_of_server = error.code in _NOT_OF_REQUEST or error.code >= 500
    explained.fails_all_requests = is_of_server or error.is_quota or error.is_limited
    return explained


def _proxy_error(error: StatusError, server: AskedServer, quote: str) -> VircError | None:
    """Errors of proxies, redirects and logins in front of the endpoint."""
    code, at, host = error.code, server.endpoint, urlsplit(server.endpoint).hostname
    if code < 400:
        target = server.quoted(error.headers.get("location", "nowhere"))
        return ConfigError(f"{at} redirects to {target}", "give «--endpoint» the address it moved to")
    if code in {407, 511}:
        sentence = f"the proxy on the way to {at} wants a user and a password{quote}"
        return ConfigError(sentence, f"put them in https_proxy or http_proxy, or go past it: export no_proxy={host}")
    if says("wants https", str(error.body)):
        secure = at.replace("http:", "https:", 1)
        return ConfigError(f"{at} is asked without TLS, and wants it{quote}", f"«--endpoint {secure}»")
    is_of_firewall = re.match(r"error code: 1\d\d\d", error.quoted.strip()) or "x-squid-error" in error.headers
    if code in {401, 403, 405, 406, 451} and (is_page(error.body) or is_of_firewall):
        sentence = f"a web page answers in place of {at}: a proxy, firewall or login stands before it{quote}"
        return ConfigError(sentence, f"ask who runs it; to go past a proxy of yours: export no_proxy={host}")
    return None


def _account_error(error: StatusError, server: AskedServer, quote: str) -> VircError | None:
    code, said, at = error.code, error.quoted, server.endpoint
    if _is_anthropic(error):
        sentence = f"{at} speaks Anthropic's API, and virc OpenAI's{quote}"
        return ConfigError(sentence, "give «--endpoint» an address with /chat/completions, such as that of a gateway")
    if error.is_quota:
        hint = "add credit where you got the key, or set «VIRC_API_KEY» to another"
        return ConfigError(f"the quota or credit of the key at {at} is used up{quote}", hint)
    if error.is_limited:
        return None
    is_denied = code == 403 and (not said or says("key", said))
    if code == 401 or is_denied or (code in {400, 403, 422} and says("bad key", said)):
        hint = "set «VIRC_API_KEY» to a key it accepts"
        if says("own key header", f"{said} {error.headers.get('www-authenticate')}"):
            hint += "; a key in a header of its own: «export VIRC_HEADERS='api-key: KEY'»"
        return ConfigError(f"{at} {'refuses the key' if server.has_key else 'wants a key'}{quote}", hint)
    if code == 403:
        return ConfigError(f"{at} forbids the request{quote}", "see what its provider allows the key to do")
    return None


def _is_anthropic(error: StatusError) -> bool:
    """Whether the server has only Anthropic's API: it requires that API's headers, or does not know the path."""
    body = error.body
    is_error_object = isinstance(body, dict) and body.get("type") == "error" and isinstance(body.get("error"), dict)
    is_unknown_path = error.code in {404, 405} and is_error_object and "model" not in error.quoted.lower()
    return is_unknown_path or says("anthropic", error.quoted)


def _address_error(error: StatusError, server: AskedServer, quote: str) -> VircError | None:
    """Errors of a wrong path or an unknown model."""
    if error.code not in {404, 405, 410}:
        return None
    sentence, hint = "does not know what was requested", server.address_hint or server.model_hint
    if says("no vision model", error.quoted):
        sentence, hint = "has no model for pictures", _hint(error.quoted) or hint
    elif not is_page(error.body) and says("model", error.quoted):
        sentence, hint = "does not serve the model", server.model_hint
    return RefusedError(f"{server.endpoint} {sentence}{quote}", hint, error.quoted)


def _transient_error(error: StatusError, server: AskedServer, quote: str) -> VircError | None:
    code, said, at = error.code, error.quoted, server.endpoint
    is_passing = code == 400 and says("passing", said)
    if code not in RETRIABLE and not (error.is_limited or is_passing) and (code < 500 or says("permanent", said)):
        return None
    if code == 429 and error.is_too_large:
        return ConfigError(f"{at} takes no request of this size{quote}", SEND_SMALLER)
    if code >= 500 and says("loading", said) and not says("failed", said):
        return NetworkError(f"{at} is still loading its model{quote}", "wait, then the same command")
    is_short = 0 < error.wait < _MAX_WAIT
    hint = f"it asks to wait for {math.ceil(error.wait)} s" if is_short else _hint(said)
    busy = NetworkError(f"{at} {'is too busy' if code in RETRIABLE or error.is_busy else 'fails'}{quote}", hint)
    busy.wait, busy.broken = error.wait if error.is_busy else None, is_passing
    return busy


def _request_error(error: StatusError, server: AskedServer, quote: str, message: str) -> VircError:
    hint = server.model_hint if says("model", message) else _hint(message)
    sentence = f"{server.endpoint} refuses the request{quote}"
    is_large = error.code == 413 and not says("per minute", error.quoted)
    side, area = named_limit("side", error.quoted), named_limit("area", error.quoted)
    if is_large or named_limit("bytes", error.quoted) or side or area:
        sentence, hint = f"{server.endpoint} takes no images of this size{quote}", SEND_SMALLER
    if side:  # a picture of that area and twice as wide as high has that side
        hint = f"the side is limited to {side} pixels: «--max-pixels {side * side // 2}»"
    elif area:
        hint = f"a picture is limited to {area} pixels: «--max-pixels {area}»"
    elif "vision model" in (hint or ""):
        sentence = f"{server.endpoint} takes no pictures for this model{quote}"
    parameter = error.fields.get("param")
    refused = RefusedError(sentence, hint, message, parameter if isinstance(parameter, str) else None, is_large)
    refused.drawn = error.fields.get("failed_generation")
    return refused


def _hint(message: str) -> str | None:
    return next((hint for pattern, hint in HINTS if re.search(pattern, message, re.IGNORECASE)), None)
