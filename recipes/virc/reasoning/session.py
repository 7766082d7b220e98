"""A problem as a state machine without I/O: what the model is asked next, and what its reply means.

`Session.next()` says what to ask, `Session.feed()` takes the reply. Transport, tries and sampling belong to
the driver (solve resamples warmer, RL never retries; D5).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import msgspec
from PIL import Image

from virc.reasoning import lenient
from virc.reasoning.bodies import BOX, INDEX, Called
from virc.reasoning.calls import Call, Checked, Tool, ToolError, View, find_tool
from virc.reasoning.coordinates import UnitError, resolve_index, settled_box
from virc.reasoning.images import OpenedImage, Shown, show, show_square
from virc.reasoning.messages import FormatError, ToolText, Turn, parse, printable, stopped
from virc.reasoning.protocol import Protocol, fill
from virc.reasoning.repetition import repeats
from virc.reasoning.resample import Rescaled
from virc.reasoning.resize import MOST_PIXELS, QWEN2, Grid, smart_resize
from virc.reasoning.trace import Failure, FailureKind, ImageRecord, Message, Rejected, RejectionKind, Trace, Unit
from virc.reasoning.writing import assembled

__all__ = ["SOLVE", "Ask", "Done", "Message", "Rejected", "Reply", "Session", "Unit"]

SOLVE = frozenset({"box_clamped", "factor_snapped"})
_MOST_CHARACTERS = 200_000


class Ask(msgspec.Struct, frozen=True):
    """What to send: the whole conversation and every image shown so far, oldest first.

    Args:
        messages, images: of the conversation.
        stop: texts that end the reply and stay in it. A backend that cannot stop there draws on; a Session cuts what
            it then gets.
        schemas: function schemas for the server to offer as `tools`; empty: the system message lists the tools.
        json_schema: the reply is to be JSON that fits it; backends that cannot see to that draw on.
        called: with `schemas`, position of an assistant message -> its text beside the call, and that call.
    """

    messages: Sequence[Message]
    images: Sequence[Shown]
    stop: Sequence[str] = ()
    schemas: Sequence[Mapping[str, Any]] = ()
    called: Mapping[int, tuple[str, Called]] = {}
    json_schema: Mapping[str, Any] | None = None


class Reply(msgspec.Struct, frozen=True):
    """What a backend returned for an Ask.

    Args:
        text: the content.
        token_ids: as sampled, where the backend knows.
        finish: "length" where the token limit cut it, "call" where the server says that it ends with a tool call.
        prompt_tokens, completion_tokens: as the backend counted.
        thought: what the server took out of the content as the thought; None: it took nothing.
        calls: the tool calls that the server took out of the content.
        refusal: the text that the server marks as a refusal.
    """

    text: str
    token_ids: tuple[int, ...] | None = None
    finish: Literal["stop", "length", "call"] = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    thought: str | None = None
    calls: tuple[Called, ...] = ()
    refusal: str | None = None


class Done(msgspec.Struct, frozen=True):
    """The problem is over; the trace has an answer or a failure."""

    trace: Trace


class _RefusalError(Exception):
    """A reply that is not taken, on its way from the check that found the fault."""

    def __init__(self, kind: RejectionKind, reason: str) -> None:
        super().__init__(reason)
        self.kind: RejectionKind = kind


def show_input(image: Image.Image | OpenedImage, protocol: Protocol, grid: Grid = QWEN2) -> Shown:
    """A picture of the question as a model of that chat protocol and grid sees it; ValueError: it cannot be shown."""
    return show_square(image) if protocol.images == "square_1000" else show(image, grid)


class Session:
    """One problem from its first question to its answer.

    Args:
        protocol: the chat protocol and the rules of the model that is asked.
        question: as the user wrote it.
        images: at least one upright RGB picture (`open_image`), in the order the question means; or what
            `show_input` made of it, so that sessions on the same problem share it.
        tools: by name; those that the chat protocol offers may be called.
        grid: the patch grid the model sees images on.
        tolerate: the deviations of tool calls that are forgiven; replies with others are rejected.
        max_turns: accepted units after which the problem ends without an answer.

    Raises:
        ValueError: there is no image, or one cannot be shown.
    """

    def __init__(
        self,
        protocol: Protocol,
        question: str,
        images: Sequence[Image.Image | OpenedImage | Shown],
        grid: Grid = QWEN2,
        *,
        tools: Mapping[str, Tool],
        tolerate: Collection[str] = SOLVE,
        max_turns: int = 16,
    ) -> None:
        if not images:
            raise ValueError("a problem needs at least one image")
        self.protocol, self.question, self.grid = protocol, printable(question), grid
        self.tools, self.tolerate, self.max_turns = tools, tolerate, max_turns
        self.images = [image if isinstance(image, Shown) else show_input(image, protocol, grid) for image in images]
        system = [Message("system", protocol.system)] if protocol.system else []
        self._messages = [*system, self._first()]
        self._units: list[Unit] = []
        self._pending: list[Rejected] = []
        self._sent: dict[int, lenient.Sent] = {}  # position of an assistant message -> how a stock model gets it back
        self._answer: str | None = None
        self._failure: Failure | None = None

    def next(self) -> Ask | Done:
        """What to ask the model now, or the finished trace; asking twice changes nothing."""
        if self._answer is None and self._failure is None:
            return self._ask()
        return Done(self.trace())

    def feed(self, reply: Reply) -> Unit | Rejected:
        """Take a reply: a Unit where it was accepted, Rejected where the state stayed as it was.

        Raises:
            RuntimeError: the problem is over.
        """
        if isinstance(self.next(), Done):
            raise RuntimeError("the problem is over: no reply was asked for")
        text = printable(reply.text[:_MOST_CHARACTERS])
        if self.protocol.reading == "strict":
            text = assembled(text, reply.thought and printable(reply.thought), reply.calls, self.protocol.grammar)
        text = stopped(text, self.protocol.grammar)
        if text != printable(reply.text):
            reply = msgspec.structs.replace(reply, token_ids=None)
        try:
            parsed = self._read(text, reply)
            # of a stock model's reply, the trace holds its turn as the grammar writes it
            kept = lenient.canonical(parsed.turn, self.protocol.grammar) if parsed.sent else text
            checked = self._check(parsed.turn.tool) if parsed.turn.tool else None
            shown = self._apply(checked) if checked else None
        except (_RefusalError, FormatError) as refused:
            rejected = Rejected(text, refused.kind, str(refused))
            self._pending.append(rejected)
            return rejected
        if parsed.sent:
            self._sent[len(self._messages)] = parsed.sent
        return self._accept(reply, kept, parsed.turn, checked, shown)

    def stop(self, kind: FailureKind, message: str) -> None:
        """End without an answer, for a reason outside the conversation; what is over stays as it is."""
        if self._answer is None and self._failure is None:
            self._failure = Failure(kind, message)

    def trace(self) -> Trace:
        """Everything up to now, finished or not."""
        return Trace(
            question=self.question,
            protocol=self.protocol,
            images=[
                ImageRecord(index, shown.width, shown.height, f"image-{index}.png", shown.parent, shown.box)
                for index, shown in enumerate(self.images)
            ],
            messages=list(self._messages),
            units=list(self._units),
            answer=self._answer,
            failure=self._failure,
            pending=tuple(self._pending),
        )

    @property
    def view(self) -> View:
        """What tool calls are held against."""
        originals = [shown.original or shown.size for shown in self.images]
        return View([shown.size for shown in self.images], self.protocol.coordinates, self.protocol.box, originals)

    def _ask(self) -> Ask:
        schemas = self.protocol.schemas
        messages = list(self._messages)
        for (
            at,
            sent,
        ) in self._sent.items():  # a stock model gets its replies back as it wrote them, without its thoughts
            messages[at] = Message("assistant", sent.text)
        called = {at: (sent.before, sent.called) for at, sent in self._sent.items() if schemas and sent.called}
        return Ask(tuple(messages), tuple(self.images), self.protocol.grammar.stop, schemas, called)

    def _first(self) -> Message:
        lines = (
            fill(self.protocol.image_line, index=index, width=shown.width, height=shown.height)
            for index, shown in enumerate(self.images)
        )
        text = fill(self.protocol.first, images="\n".join(lines), question=self.question)
        return Message("user", text, tuple(range(len(self.images))))

    def _read(self, text: str, reply: Reply) -> lenient.ParsedReply:
        if reply.refusal is not None:
            raise _RefusalError("refusal", f"the model does not answer: {reply.refusal[:200]}")
        if len(reply.text) + len(reply.thought or "") > _MOST_CHARACTERS:
            raise _RefusalError("length", f"the reply is longer than {_MOST_CHARACTERS} characters")
        if repeats(text, self.protocol.repeat_limit):
            times = self.protocol.repeat_limit
            raise _RefusalError("repetition", f"the reply repeats a pattern {times} times in a row")
        try:
            if self.protocol.reading == "strict":
                return lenient.ParsedReply(parse(text, self.protocol.grammar))
            parsed = lenient.read(
                text,
                self.protocol.grammar,
                self.protocol.tools,
                thought=reply.thought and printable(reply.thought),
                calls=reply.calls,
                cut=reply.finish == "length",
            )
        except FormatError as error:
            if reply.finish == "length" and error.kind == "tags":
                raise _RefusalError("length", "the token limit cut the reply before its last tag") from None
            raise
        if reply.finish == "call" and not parsed.turn.tool:
            raise _RefusalError("json", "the server says that the reply calls a tool, and sent no call")
        return parsed.calling(self._settled(parsed.turn.tool)) if parsed.turn.tool else parsed

    def _settled(self, tool: ToolText) -> ToolText:
        """A call of a stock model with what it may leave out or write as a fraction: the only image, a box."""
        arguments = dict(tool.arguments)
        if INDEX not in arguments and len(self.images) == 1:
            arguments[INDEX] = 0
        try:
            if tool.name in self.protocol.tools:
                allowed = find_tool(self.tools, tool.name).SCHEMA["function"]["parameters"]["properties"]
                arguments = {key: value for key, value in arguments.items() if key in allowed}
            if BOX in arguments:
                index, _ = resolve_index(arguments.get(INDEX), len(self.images))
                arguments[BOX] = settled_box(arguments[BOX], self.view, index)
        except UnitError as error:
            raise _RefusalError("unit", str(error)) from None
        except ToolError as error:
            raise _RefusalError("tool", str(error)) from None
        return ToolText(tool.name, arguments)

    def _check(self, tool: ToolText) -> Checked:
        try:
            checked = find_tool(self.tools, tool.name, self.protocol.tools).check(tool.arguments, self.view)
        except ToolError as error:
            raise _RefusalError("tool", str(error)) from None
        intolerable = [name for name in checked.deviations if name not in self.tolerate]
        if intolerable:
            raise _RefusalError("deviation", f"the call is not exact: {', '.join(intolerable)}")
        return checked

    def _apply(self, checked: Checked) -> Shown:
        call = checked.call
        source = self.images[call.index]
        pixels = source.pixels
        try:
            shown = self._made(call, source, pixels)
        except ValueError as error:  # an image of aspect 200 may be shown a little longer than that
            raise _RefusalError("tool", str(error)) from None
        made = [shown, *(image for image in self.images if image.parent is not None)]
        if sum(image.width * image.height for image in made) > MOST_PIXELS:
            most = f"{MOST_PIXELS // 10**6} million pixels"
            raise _RefusalError("tool", f"the images made by tools would hold over {most} together")
        return shown if shown.pixels is not pixels else source.again(call.index)

    def _made(self, call: Call, source: Shown, pixels: Image.Image) -> Shown:
        """What a tool makes of an image; one with another beneath it has that in its crops, and keeps it otherwise."""
        apply = self.tools[call.name].apply
        made = self._unchanged(apply(call, pixels), pixels)
        is_jpeg = source.is_jpeg and made is not pixels  # the same image again is sent as the same file
        if source.beneath is None:
            return show(made, self.grid, call.index, call.box, is_jpeg)
        beneath = show(apply(call, source.beneath), self.grid, call.index, call.box, is_jpeg)
        if call.box is not None:
            return beneath
        return Shown(show(made, self.grid, call.index).pixels, call.index, beneath=beneath.pixels)

    def _unchanged(self, made: Image.Image | Rescaled, pixels: Image.Image) -> Image.Image | Rescaled:
        """The pixels themselves where they are only to be scaled, and to the size that they have already."""
        if isinstance(made, Rescaled) and made.pixels is pixels and smart_resize(*made.size, self.grid) == pixels.size:
            return pixels
        return made

    def _accept(self, reply: Reply, text: str, turn: Turn, checked: Checked | None, shown: Shown | None) -> Unit:
        unit = Unit(
            text=text,
            think=turn.think,
            call=checked.call if checked else None,
            deviations=checked.deviations if checked else (),
            answer=turn.answer,
            shown=len(self.images) if shown else None,
            rejected=tuple(self._pending),
            token_ids=reply.token_ids,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
        )
        self._units.append(unit)
        self._pending.clear()
        self._messages.append(Message("assistant", text, token_ids=reply.token_ids))
        if turn.answer is not None:
            refusals = {"", *(refusal.strip().casefold() for refusal in self.protocol.refusals)}
            if turn.answer.casefold() in refusals:
                self._failure = Failure("no_answer", f"the model answered {turn.answer!r}")
            else:
                self._answer = turn.answer
        elif checked and shown:
            self._show(checked.call.name, shown)
        return unit

    def _show(self, tool: str, shown: Shown) -> None:
        index = len(self.images)
        self.images.append(shown)
        template = getattr(self.protocol, self.tools[tool].TEMPLATE)
        text = fill(template, index=index, width=shown.width, height=shown.height, question=self.question)
        self._messages.append(Message("user", text, (index,)))
        if len(self._units) >= self.max_turns:
            self._failure = Failure("turns", f"no answer after {self.max_turns} turns")
