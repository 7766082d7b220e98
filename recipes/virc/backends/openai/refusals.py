"""What a server's refusal says: which parameter it rejects, and what to send less of.

Servers word their refusals freely, so that patterns look for the usual words. `parameters` and `RefusedError` tell what
can be left out; `shortened` and `lowered` a lower limit of tokens, named or guessed; `fewer` guesses how many pictures
to send. The limits that a refusal names are read by `limits`.
"""

import re
from collections.abc import Iterator

from virc.backends.openai.limits import CONTEXT, PICTURES, named_limit
from virc.core.errors import ConfigError

LENGTHS = ("max_tokens", "max_completion_tokens")
SYSTEM = "system"
"""The message of that role, which some chat templates refuse (Gemma, older Mistral): the user's then holds its text."""
OPTIONAL = (
    "top_k", "seed", "stream_interval", "stream_options", "repetition_penalty", "include_stop_str_in_output",
    "no_stop_trim", "stop", "temperature", "top_p", "stream", "response_format", SYSTEM,
    *LENGTHS,
)  # fmt: skip
"""What a request can do without: the model then draws by the server's own defaults."""
OWN = "messages."
"""Prefix, among parameters to leave out, of a field of tool calls that the server itself sent, but refuses later."""
AFTER_TOOL = f"{OWN}user after tool"
"""A user's message after the result of a tool, which servers of Mistral's models refuse: one of the assistant has to be
between them."""
EMPTY = f"{OWN}empty content"
"""An empty content of a message that only calls tools: Claude's servers want null."""
_REFUSES = re.compile(
    r"unsupported|not supported|n.t support|unrecogni[sz]ed|unknown|unexpected|not (permitted|allowed|valid)|forbidden"
    r"|invalid (param|arg|field)|cannot find field|extra inputs|use '?max_completion_tokens|must be verified"
    r"|cannot both be|only [\d.]+ is allowed"
    r"|must be (?:strictly )?(?:positive|greater than 0)|n.t enabled|only [\w, ]+ roles are|roles must alternate",
    re.IGNORECASE,
)
_CONTEXT = re.compile(r"context (?:length|window|size)|maximum length|inputs?\W{0,2} tokens", re.IGNORECASE)
_PROMPT_IS = re.compile(
    r"(\d{1,8}) (?:in (?:the messages|your prompt)|of text input|input tokens|prompt tokens|tokens (?:in|from))"
    r"|prompt (?:contains|has)\D{0,20}(\d{1,8})|given: (\d{1,8}) .?inputs",
    re.IGNORECASE,
)
_MIN_ROOM = 128
_STATUSES = frozenset({400, 422})  # which some sentences repeat
_WORDS = frozenset({"stream", "stop", "seed", "temperature"})
_MANY = re.compile(r"at most|too many|limit|maximum|max\b|only|exceed|more than|support")
_TOO_MANY = re.compile(r"at most|too many|maximum|max\b|limit|exceed")
_IS_FULL = re.compile(
    CONTEXT + r"|too long|inputs?\W{0,2} (?:tokens?|length)|prompt tokens|maximum length|token limit|too many tokens"
    r"|inputs?\W{0,2} must have less than|tokens per (?:minute|day)|prompt.{0,4}超|超长|上下文|长度超"
)
_LENGTH = re.compile(
    r"max\w*[ _-]?(?:new |output )?tokens?|num_predict|tokens_to_generate|token limit|maximum tokens"
    r"|(?:output|completion|response|generat\w+|ausgabe)[- ]?(?:tokens?|length|limit)"
    r"|token[^.]{0,30}(?:limit|maxim|máxim|höchst)|limit[^.]{0,30}token|(?:输出|输出长度|出力).{0,12}(?:超|上限|限)|トークン数",
    re.IGNORECASE,
)
_NUMBERS = re.compile(r"(?<![\w.])\d{1,3}(?:,\d{3})+(?![\w.])|(?<![\w.,])\d{2,8}(?![\w]|\.\d)")


class RefusedError(ConfigError):
    """The endpoint refuses a request because of its content.

    Args:
        said: the server's sentence.
        parameter: which one it names as the cause, if any.
        too_large: whether its status says that the request has too many bytes.

    Attributes:
        text: as `said`.
        is_full: the conversation has too many tokens or pictures.
        is_of_empty, is_of_order: it refuses an empty content (`EMPTY`), or the order of messages (`AFTER_TOOL`).
    """

    def __init__(
        self, message: str, hint: str | None, said: str, parameter: str | None, too_large: bool = False
    ) -> None:
        super().__init__(message, hint)
        self.text, self.parameter, self.too_large = said, parameter, too_large
        text = said.lower()
        is_of_count = named_limit("pictures", text) or (PICTURES.search(text) and _TOO_MANY.search(text))
        self.is_full = bool(_IS_FULL.search(text) or is_of_count)
        self.is_of_empty = bool(re.search(r"non-?empty|(?:be|is|an?) empty|empty (?:text|content|string)|blank", text))
        self.is_of_order = bool(re.search(r"after role '?tool|roles must alternate", text))

    def own_fields(self, sent: set[str]) -> set[str]:
        """Which of the server's own fields of tool calls that were `sent` back it refuses: those it names, else all."""
        if named := {name for name in sent if re.search(rf"\b{re.escape(name)}\b", self.text)}:
            return set() if re.search(r"missing|required", self.text, re.IGNORECASE) else named
        return sent if _REFUSES.search(self.text) and re.search(r"messages?\b|tool_calls", self.text) else set()


def shortened(max_tokens: int, refused: RefusedError) -> int | None:
    """The limit of tokens for a reply that a server names when it refuses a higher one.

    It names it itself, or the lengths of the context and the prompt. None: it names none, or hardly any token is left.
    """
    longest, prompt = named_limit("context", refused.text), _PROMPT_IS.search(refused.text)
    room = named_limit("reply", refused.text) or 0
    if longest and prompt:
        room = longest - int(prompt[prompt.lastindex or 0])
    return room if _MIN_ROOM <= room < max_tokens else None


def lowered(max_tokens: int, refused: RefusedError) -> int | None:
    """A guess of a lower limit of tokens for a reply, if a refusal seems to be about the limit: the largest number in
    it that is lower, else half. None: it is about something else.
    """
    said = refused.text
    numbers = {int(each.replace(",", "")) for each in _NUMBERS.findall(said)}
    is_named = _LENGTH.search(said) or (max_tokens in numbers and not PICTURES.search(said.lower()))
    if _CONTEXT.search(said) or re.search(CONTEXT, said.lower()) or not is_named:
        return None
    below = bool(re.search(r"exclusive|(?:lower|less|smaller) than \d", said))
    fitting = [each - below for each in numbers - _STATUSES if _MIN_ROOM <= each < max_tokens]
    return max(fitting, default=max_tokens // 2 if max_tokens >= 2 * _MIN_ROOM else None)


def parameters(refused: RefusedError) -> Iterator[str]:
    if refused.parameter in OPTIONAL:
        yield refused.parameter
        return
    if _CONTEXT.search(refused.text) or not _REFUSES.search(refused.text):
        return
    matches = [(re.search(_mention_of(name), refused.text), name) for name in OPTIONAL]
    mentions = [(match.start(), name) for match, name in matches if match]
    # "'max_tokens' is not supported: use 'max_completion_tokens' instead" names what it wants as well.
    instead = re.search(r"\b(?:use|try)\b", refused.text, re.IGNORECASE)
    for position, name in sorted(mentions):
        if name == "temperature" and "both" in refused.text:  # of temperature and top_p, top_p is left out
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


def fewer(said: str, count: int) -> int | None:
    """A guess of how many pictures to send after a refusal of `count`; None: it is about something else."""
    text = said.lower()
    if (PICTURES.search(text) and _MANY.search(text)) or _IS_FULL.search(text):
        return max(1, count // 4)
    return None
