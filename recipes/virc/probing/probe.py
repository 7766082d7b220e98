"""Finds out how a server and its model speak, by a few requests with drawn pictures."""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from virc.backends.chat.causes import fewer_pictures, named_limit
from virc.backends.interface import Backend, Sampling
from virc.core.errors import ConfigError, NetworkError, VircError
from virc.core.text import plain
from virc.families import registry as families
from virc.families.registry import Family
from virc.probing import pictures
from virc.probing.result import Probed
from virc.probing.scaling import Counts, Shrunk, beyond_text, cached, enlarged, scaling
from virc.reasoning import lenient
from virc.reasoning.bodies import BOX, FormatError
from virc.reasoning.images import Shown
from virc.reasoning.marks.special_tokens import apart
from virc.reasoning.protocol import Protocol, fill
from virc.reasoning.session import Ask, Message, Reply
from virc.tools import registry as tools

if TYPE_CHECKING:
    from virc.backends.chat.backend import OpenAIBackend

MAX_REQUESTS, MAX_ZOOMS = 4, 3
"""Requests that measure, and those for the turn after a crop: one, and one for each thing that is refused of it."""
IMAGES = 17
"""Pictures of one conversation that are tried: one of the question, and what sixteen turns show."""

_TASK = (
    "{line}\nThe image shows one red rectangle. Look at it closer: call the function with the box that encloses the "
    "red rectangle exactly, and write nothing else."
)
_COLORS = "Which colours have images {asked}? Answer with {count} words, in this order."
_ZOOMED = "Image 1 shows what the box encloses. Which colour has it? Answer with one word."
_LONGEST_REPLY, _COUNTED_REPLY = 4096, 16
"""Tokens of a reply that is read, and of one of which only the count of its prompt is."""
_MOST_CHARACTERS = 50_000

Say = Callable[[str], None]


class _Findings(msgspec.Struct):
    """What the requests so far have shown, most of it as in `Probed`; None: it is unknown."""

    counted: pictures.Counted | None = None
    calls: Literal["text", "structured", "native"] | None = None
    thoughts: Literal["apart", "tags", "none", "all"] | None = None
    counts: Counts = msgspec.field(default_factory=Counts)
    ordered: bool | None = None
    images: int | None = None
    asked_images: int | None = None
    context: int | None = None  # as a refusal names it
    ended: str | None = None
    zoom: Ask | None = None  # the conversation after the call, with the crop
    zoomed: bool | None = None
    zoom_refused: str | None = None


def probe(
    backend: "OpenAIBackend",
    endpoint: str,
    say: Say = lambda _: None,
    weights: str | None = None,
    *,
    goes_on: bool = False,
) -> Probed:
    """Ask an endpoint until it is known how it speaks, or four requests were made.

    What is refused or breaks off after the first reply ends the probe, and what was found by then holds.

    Args:
        backend: of the endpoint and model; it makes no tries of its own.
        say: gets one line for each request.
        goes_on: whether the turn after the call, with the crop, is played too, by up to three requests more.

    Raises:
        ConfigError, NetworkError, EngineError: the endpoint does not answer at all.
    """
    named = families.by_name(backend.server.weights_name or "") or families.by_name(backend.model)
    family = named or families.UNKNOWN
    backend.max_requests = MAX_REQUESTS
    seen = _Findings()
    _ask_box(backend, family, seen, say)
    try:
        _ask_order(backend, seen, say)
        _ask_small(backend, family, named, seen, say)
    except VircError as error:
        seen.ended = plain(error.message)
    if backend.requests >= MAX_REQUESTS and seen.images is None:
        seen.ended = (
            f"{(backend.left_out and 'parameters were refused, and ') or ''}no request is left to count pictures"
        )
    if goes_on:
        _ask_zoom(backend, seen, say)
    return msgspec.structs.replace(
        _result(backend.model, endpoint, named, seen),
        server=backend.kind,
        context=backend.context or _context(backend) or seen.context,
        left_out=tuple(sorted(backend.left_out)),
        requests=backend.requests,
        weights=weights,
    )


def unit(backend: Backend, endpoint: str, family: Family | None, native: bool, seconds: float | None) -> Probed | None:
    """Ask a model how it counts boxes, by one request with a drawn picture; a second where no box came.

    Args:
        family: that it seems to be of; None: nothing tells.
        native: the tool is sent as `tools` of the first request, and in the system message of the second; else the
            other way round.
        seconds: after which a reply is given up.

    Returns:
        What was found; None: the model gave no box around the rectangle, or one that fits no way to count.

    Raises:
        VircError: the first request failed, or the time is over.
    """
    seen = _Findings()
    for is_native in (native, not native):
        protocol = families.protocol(family or families.UNKNOWN, native=is_native)
        ask = _box_ask(protocol, Shown(pictures.large()))
        try:
            reply = _reply(backend, ask, seconds=seconds)
        except ConfigError:
            if is_native is native:
                raise
            return None  # many servers and models know no tools
        seen.counts.large = beyond_text(reply, ask)
        if _take_box(reply, protocol, seen, ask):
            break
    found = _result(backend.model, endpoint, None, seen)
    return found if found.coordinates else None


def _result(model: str, endpoint: str, named: Family | None, seen: _Findings) -> Probed:
    counted, shrunk = seen.counted, _shrunk(named, seen)
    in_pixels = counted is not None and counted.coordinates == "pixel"
    largest = shrunk.longest or (pictures.LARGE[0] if in_pixels else None)
    names = ("ordered", "calls", "images", "asked_images", "thoughts", "ended", "zoomed", "zoom_refused")
    found: dict[str, Any] = {name: getattr(seen, name) for name in names}
    return Probed(
        endpoint=endpoint,
        model=model,
        family=named.name if named else None,
        coordinates=counted.coordinates if counted else None,
        box=counted.box if counted else None,
        longest=shrunk.longest,
        max_pixels=largest and largest * largest * pictures.LARGE[1] // pictures.LARGE[0],
        min_pixels=enlarged(named, seen.counts, counted.scale if counted and in_pixels else None),
        scaling=shrunk.kind,
        **found,
    )


def _shrunk(named: Family | None, seen: _Findings) -> Shrunk:
    """Whether the large picture was scaled down: by a box in pixels of what was seen, else by token counts."""
    if seen.counted is None or seen.counted.coordinates != "pixel":
        return scaling(named, seen.counts)
    if seen.counted.scale == 1:
        return Shrunk("none")
    return Shrunk("down", pictures.longest(seen.counted.scale))


def _ask_box(backend: "OpenAIBackend", family: Family, seen: _Findings, say: Say) -> None:
    """Have the model call its tool on the rectangle: the tool in the system message, then in the request's `tools`."""
    say("a picture with a red rectangle: how are boxes counted, how do calls come?")
    protocol = families.protocol(family)
    ask = _box_ask(protocol, Shown(pictures.large()))
    reply = _reply(backend, ask)
    _take_box(reply, protocol, seen, ask)
    seen.counts.large = beyond_text(reply, ask)
    if seen.calls is None and backend.requests < MAX_REQUESTS:
        say("no call came: the same, with the tool in the request")
        native = families.protocol(family, native=True)
        ask = _box_ask(native, Shown(pictures.large()))
        with suppress(VircError):  # many servers and models know no tools
            _take_box(_reply(backend, ask), native, seen, ask)


def _ask_zoom(backend: "OpenAIBackend", seen: _Findings, say: Say) -> None:
    """Play the turn after the call, with the crop that it asks for: is a conversation taken further?"""
    if seen.zoom is None:
        return
    say("the crop, as the turn after the call: does the conversation go on?")
    backend.max_requests = backend.requests + MAX_ZOOMS
    try:
        reply = _reply(backend, seen.zoom)
    except VircError as error:
        seen.zoomed, seen.zoom_refused = False, plain(error.message)
    else:
        seen.zoomed = pictures.FIRST in pictures.colors(_content(reply))


def _box_ask(protocol: Protocol, shown: Shown) -> Ask:
    line = fill(protocol.image_line, index=0, width=shown.width, height=shown.height)
    system = (Message("system", protocol.system),) if protocol.system else ()
    return Ask((*system, Message("user", _TASK.replace("{line}", line), (0,))), (shown,), schemas=protocol.schemas)


def _zoom_ask(ask: Ask, reply: Reply, sent: lenient.Sent) -> Ask:
    """The conversation after a call, as a session has it, with the rectangle as the crop."""
    at = len(ask.messages)
    messages = (*ask.messages, Message("assistant", sent.text), Message("user", _ZOOMED, (1,)))
    called = {at: msgspec.structs.replace(sent, results=("",), message=reply.message)}
    shown = (*ask.images, Shown(pictures.large().crop(pictures.TARGET)))
    return Ask(messages, shown, schemas=ask.schemas, called=called if ask.schemas and sent.calls else {})


def _take_box(reply: Reply, protocol: Protocol, seen: _Findings, ask: Ask | None = None) -> bool:
    """Note how a reply to `ask` counts boxes, calls and thinks; whether it holds a box at all."""
    text, box = reply.text[:_MOST_CHARACTERS], None
    if reply.thought:
        seen.thoughts = "apart"
    elif apart(text) != ("", text):
        seen.thoughts = seen.thoughts if seen.thoughts == "apart" else "tags"
    else:
        seen.thoughts = seen.thoughts or "none"
    with suppress(FormatError):
        offered = tools.offered(protocol.tools)
        cut = reply.finish == "length"
        parsed = lenient.read_leniently(
            text, protocol.grammar, offered, thought=reply.thought, calls=reply.calls, cut=cut
        )
        turn = parsed.turn
        if reply.thought and not (reply.calls or text.strip()):  # it was read from there
            seen.thoughts = "all"
        if turn.tool:
            seen.zoom = _zoom_ask(ask, reply, parsed.sent) if ask and parsed.sent else None
            sent_apart: Literal["structured", "text"] = "structured" if reply.calls else "text"
            seen.calls = "native" if protocol.schemas else sent_apart
            box = turn.tool.arguments.get(BOX)
    written = pictures.numbers(_content(reply))
    seen.counted = pictures.counted(box) or pictures.counted(written) or seen.counted
    return box is not None or written is not None


def _ask_order(backend: "OpenAIBackend", seen: _Findings, say: Say) -> None:
    """Show pictures of one colour in as many messages: are they taken, and seen in their order?"""
    count: int | None = IMAGES
    while count and backend.requests < MAX_REQUESTS:
        say(f"{count} pictures in as many messages: are they taken, and in their order?")
        seen.asked_images = IMAGES
        ask = _order_ask(count)
        try:
            reply = _reply(backend, ask)
        except VircError as error:
            count = _refused(error, count, seen)
        else:
            count = _take_order(reply, ask, seen)


def _refused(error: VircError, count: int, seen: _Findings) -> int | None:
    """How many pictures to show after a refusal of that many; None: one fits, which was shown already."""
    said = getattr(error, "said", error.message)
    allowed, fewer = named_limit("pictures", said, count), fewer_pictures(said, count)
    seen.context = seen.context or named_limit("context", said)
    if allowed is None and fewer is None:
        raise error
    if allowed is not None or fewer == 1:
        seen.images = allowed or fewer
    return None if seen.images == 1 else allowed or fewer


def _take_order(reply: Reply, ask: Ask, seen: _Findings) -> int | None:
    """Note what of a conversation with several pictures was seen; how many to show next, None: that will do."""
    count = len(ask.images)
    seen.counts.several, seen.counts.pictures = beyond_text(reply, ask), count
    wanted = [pictures.FIRST, pictures.SECOND, pictures.LAST][:count]
    named = pictures.colors(_content(reply))[-len(wanted) :]
    if named == wanted:
        seen.images = count
        if count > 1:
            seen.ordered = True
        return None
    if pictures.misplaced(named, wanted):
        seen.ordered, seen.images = False, count
        return None
    seen.images = None  # they were taken, and it is unknown how many of them were seen
    return None if reply.finish == "length" or count == 1 else max(1, count // 4)


def _order_ask(count: int) -> Ask:
    colors = [pictures.FIRST, pictures.SECOND, *[pictures.OTHERS] * (count - 3), pictures.LAST][:count]
    asked = sorted({0, 1, count - 1} & set(range(count)))
    question = _COLORS.format(asked=", ".join(map(str, asked)), count=len(asked))
    messages: list[Message] = []
    for index in range(count):
        messages += [Message("assistant", "Go on.")] if index else []
        messages.append(Message("user", f"Image {index}.", (index,)))
    messages[-1] = Message("user", f"{messages[-1].text}\n{question}", (count - 1,))
    return Ask(tuple(messages), tuple(Shown(pictures.small(color)) for color in colors))


def _ask_small(backend: "OpenAIBackend", family: Family, named: Family | None, seen: _Findings, say: Say) -> None:
    """Ask for the box once more with a small picture, where its tokens tell how large pictures are seen."""
    in_pixels = seen.counted is not None and seen.counted.coordinates == "pixel"
    if in_pixels or backend.requests >= MAX_REQUESTS or _shrunk(named, seen).sure:
        return
    say("a small picture: how many tokens does it take?")
    ask = _box_ask(families.protocol(family), Shown(pictures.large().resize(pictures.SMALL)))
    small = beyond_text(_reply(backend, ask, _COUNTED_REPLY), ask)
    seen.counts.small = None if small is None or cached(seen.counts, small) else small


def _reply(backend: Backend, ask: Ask, most: int = _LONGEST_REPLY, seconds: float | None = None) -> Reply:
    return backend.reply(ask, Sampling(max_tokens=most), seconds=seconds)


def _content(reply: Reply) -> str:
    return apart(reply.text[:_MOST_CHARACTERS])[1]


def _context(backend: "OpenAIBackend") -> int | None:
    """The context in tokens by what llama.cpp and LM Studio say next to their list of models."""
    with suppress(ConfigError, NetworkError):
        settings = backend.json_object("/props").get("default_generation_settings")
        if isinstance(settings, dict) and type(settings.get("n_ctx")) is int:
            return int(settings["n_ctx"])
    with suppress(ConfigError, NetworkError):
        listed = backend.json_object("/api/v0/models").get("data")
        for entry in listed if isinstance(listed, list) else ():
            if isinstance(entry, dict) and entry.get("id") == backend.model:
                known = entry.get("loaded_context_length") or entry.get("max_context_length")
                return known if type(known) is int and known > 0 else None
    return None
