"""What came of a request: names what a server left out, ignored or did otherwise, which no field of its reply says."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from virc.backends.chat.causes import LENGTHS
from virc.backends.chat.errors import parsed
from virc.backends.chat.reply import ReceivedReply
from virc.backends.chat.request import values_of
from virc.backends.prompt_count import min_tokens
from virc.config.taken import left
from virc.core.text import plain
from virc.reasoning.marks.special_tokens import leading_thoughts
from virc.reasoning.session import Ask

_FEW_TOKENS = 16
_LIMITS = (*LENGTHS, "num_predict")
_OF_THOUGHT = re.compile(
    r"(?:.*\.)?(?:enable_thinking|think|thinking|(?:thinking|reasoning)\.(?:type|enabled|effort|max_tokens)"
    r"|reasoning_effort|\w*budget\w*)"
)
"""Paths of fields that turn thoughts on or off."""
_OFF = (False, 0, "none", "off", "disabled")
_VERSION = re.compile(r"(?:[-_:@.](?:v?\d+|preview|exp|beta))*")
"""What may stand behind the name of a model that is the same one."""
_ROUTED = re.compile(r"(?:[:@][a-z][\w.-]*|-latest|-gguf)+$")
"""What routers and local servers put behind a name: a provider, a tag, a quantization."""
_PICTURE, _GIVEN = r"(?:image|picture|photo)s?", "(?:attached|provided|uploaded|included|received|come through)"
_NO_PICTURE = re.compile(  # says a model to which the server passed none
    rf"(?i)(?:n['’]t|not|unable to) (?:\w+ ){{0,2}}(?:see|view|access|{_GIVEN}) (?:any |an? )?{_PICTURE}\b(?! of| with)"
    rf"|(?:\bno {_PICTURE}(?: \w+){{0,2}}|{_PICTURE} \w+(?:n['’]t| not)(?: been)?) {_GIVEN}|(?:没有|未|无法)看到"
)

_IGNORED: Mapping[str, Callable[[Any, ReceivedReply], bool]] = {
    **dict.fromkeys(_LIMITS, lambda most, reply: type(most) is int and 0 < most < (reply.completion_tokens or 0) - 1),
    **dict.fromkeys(
        ("response_format", "format", "guided_json"),
        lambda asked, reply: asked != {"type": "text"} and reply.finish == "stop" and not _is_json(reply.text or "{}"),
    ),
    "stop": lambda stop, reply: any(
        isinstance(each, str) and each and each in reply.text.rstrip()[: -len(each)]
        for each in (stop if isinstance(stop, list) else [stop])
    ),
    "logprobs": lambda asked, reply: bool(asked) and not reply.has_logprobs,
    "tool_choice": lambda choice, reply: choice not in ("auto", "none") and not reply.calls,
}
"""Parameter -> whether a reply shows that it had no effect, by its value."""


def balanced(reply: ReceivedReply, ask: Ask, wanted: Mapping[str, Any], sent: Mapping[str, Any]) -> ReceivedReply:
    """The reply with what came otherwise than asked in `left`, and marked as cut if it is.

    Args:
        wanted: the parameters of the request, of which only those in the body that was `sent` were.
    """
    reply = _marked_as_cut(reply, sent)
    without_effect = {"seed": not wanted.get("temperature"), **dict.fromkeys(LENGTHS, sent.keys() & {*LENGTHS})}
    needed = {name: value for name, value in wanted.items() if not (name in sent or without_effect.get(name))}
    names = [("unsent", name) for name in left("unsent", needed, ())]
    names += [("ignored", name) for name in _ignored(sent, reply)]
    if ask.images and reply.prompt_tokens:
        read, texts = reply.prompt_tokens + reply.cached_tokens, min_tokens(*(each.text for each in ask.messages))
        unseen = {"image_tokens": reply.picture_tokens == 0, "prompt_tokens": read < texts}
        names += [("unseen", name) for name, holds in unseen.items() if holds]
    names += [("unseen", "content")] if ask.images and _NO_PICTURE.search(reply.text) else []
    if reply.model and not _is_same(str(sent.get("model")), reply.model):
        names.append(("model", plain(reply.model, 60)))
    return msgspec.structs.replace(reply, left=(*reply.left, *names))


def _ignored(sent: Mapping[str, Any], reply: ReceivedReply) -> Iterator[str]:
    """The parameters that had no effect."""
    parameters = _parameters(sent)
    yield from (name for name, fails in _IGNORED.items() if parameters.get(name) and fails(parameters[name], reply))
    if reply.thought or reply.thought_tokens or leading_thoughts(reply.text)[0]:
        given = values_of({name: value for name, value in sent.items() if name not in ("messages", "tools")})
        paths = {".".join(path): value for path, value in given.items()}
        yield from (path for path, value in paths.items() if _OF_THOUGHT.fullmatch(path) and value in _OFF)


def _parameters(sent: Mapping[str, Any]) -> dict[str, Any]:
    options = sent.get("options")  # Ollama's
    return {**sent, **(options if isinstance(options, Mapping) else {})}


def _is_json(text: str) -> bool:
    return isinstance(parsed(text.encode(errors="replace")), dict | list)


def _is_same(asked: str, came: str) -> bool:
    """Whether two names are of one model, with and without its publisher, its provider and its version."""
    short, long = sorted((_ROUTED.sub("", name.lower().rpartition("/")[2]) for name in (asked, came)), key=len)
    return long.startswith(short) and bool(_VERSION.fullmatch(long[len(short) :]))


def _marked_as_cut(reply: ReceivedReply, sent: Mapping[str, Any]) -> ReceivedReply:
    """The reply, marked as cut if it is as long as the request allows, though the server says that it stopped.

    The token that ends a reply may count too, so a word that fills a limit of a few tokens is taken for whole. What
    passes the limit by more than one token was not cut by it.
    """
    limits, drawn = _parameters(sent), reply.completion_tokens or 0
    most = next((limits[name] for name in _LIMITS if type(limits.get(name)) is int), 0)
    is_word = most <= _FEW_TOKENS and len(reply.text.split()) == 1
    reaches_limit = most > 0 and most <= drawn <= most + 1
    if reply.finish != "stop" or not reaches_limit or is_word or reply.refusal:
        return reply
    return msgspec.structs.replace(reply, finish="length")
