"""What a reward is given for: a reply (`Sample`), and all that was known before it (`Prompt`).

`prompt_of` makes the prompt of a row and `sample` reads a reply to it. The action log of a rollout has a `CallResult`
for each tool call: `Prompt.calls` are those before the reply, `Sample.done` those of the reply itself. Where no session
has carried out the earlier calls, a `StoredWalk` finds in the record which images they led to.
"""

from collections.abc import Awaitable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import msgspec
from PIL import Image

from virc.core.errors import DataError
from virc.data.check.images import announced_squares
from virc.data.rows.record import Picture, Record, input_sizes
from virc.data.rows.sizes import Spoken, display_sizes
from virc.data.steps import Step, StepCall, StoredWalk, read_turns
from virc.reasoning.calls import Call, Size, ToolError, View
from virc.reasoning.checking import inexact
from virc.reasoning.grammar import Grammar
from virc.reasoning.history import History
from virc.reasoning.images import Shown, image_size, open_image
from virc.reasoning.messages import FormatError, ToolText, Turn, parse
from virc.reasoning.protocol import Coordinates, Protocol
from virc.reasoning.repetition import repeats
from virc.reasoning.resample import StandIn
from virc.rewards import published
from virc.scoring.score import Key, key_of
from virc.tools import registry as tools

Strict = Literal["own", "published"]
"""Whose checks decide what is well-formed: ours, or those of the published program with all its quirks."""

REPEAT_LIMIT = 8


class CallResult(msgspec.Struct, frozen=True):
    """One entry of the action log: a tool call of a rollout.

    Args:
        tool: the call as it was written; None where the reply cannot be read.
        call: the call as it was carried out, with its box in pixels of the shown image; None where it was not.
        fault: why it was not carried out; None where it was.
        shown: (width, height) in px of the first image it led to; None where there is none.
        images: indices of the images that it led to.
        raised: the published program raises an error for it, and the prompt is `strict` as that program is.
    """

    tool: ToolText | None
    call: Call | None = None
    fault: str | None = None
    shown: Size | None = None
    raised: bool = False
    images: Sequence[int] = ()


class StoredImage:
    """An image of the history; its file is opened when it is first needed, which may raise a DataError."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture

    @cached_property
    def size(self) -> Size:
        """(width, height) in px of the file."""
        return image_size(self.read(), self._picture.name or "an image")

    def pixels(self, size: Size | None = None) -> Shown:
        """The image at the size of its file, or at another, (width, height) in px."""
        image = open_image(self.read(), self._picture.name or "an image")
        return Shown(image.resize(size, Image.Resampling.LANCZOS) if size else image)

    def read(self) -> bytes:
        try:
            return self._picture.read()
        except OSError as error:
            raise DataError(f"image {self._picture.name} cannot be read: {error.strerror}") from None


class ShownImage:
    """An image of the history as it was shown, in place of a file."""

    def __init__(self, shown: Shown) -> None:
        self._shown, self.size = shown, shown.size

    def pixels(self, size: Size | None = None) -> Shown:
        """The image as it was shown, or at another size, (width, height) in px."""
        if size is None or size == self.size:
            return self._shown
        if size == self._shown.full_size:
            return Shown(self._shown.full)
        return Shown(self._shown.pixels.resize(size, Image.Resampling.LANCZOS))


class Prompt(msgspec.Struct, frozen=True, dict=True):
    """What was known before a reply.

    Args:
        record: the conversation up to the reply; `images` as far as they were shown.
        coordinates: what boxes mean.
        strict: whose checks decide.
        reference: the reply of the row, where it has one.
        shown: the images as they were shown, where they are known; else those of the record are.
        files: (width, height) in px of the inputs' files, where the images are not those of the record.
        protocol: the chat protocol, which says how replies and boxes are written, and which tools may be called; None:
            as in our own, and all of them.
        carried: the tool calls before, where a session has carried them out; None: they are found in the record.
    """

    record: Record
    coordinates: Coordinates = "pixel"
    strict: Strict = "own"
    reference: str | None = None
    shown: Sequence[Shown] = ()
    files: Sequence[Size] = ()
    protocol: Protocol | None = None
    carried: Sequence[CallResult] | None = None

    @property
    def grammar(self) -> Grammar:
        """How replies are written."""
        return self._spoken.grammar

    @property
    def question(self) -> str:
        """As the user wrote it."""
        return self.record.question or ""

    @property
    def columns(self) -> Mapping[str, Any]:
        """The other fields of the row."""
        return self.record.extra

    @property
    def reference_tool(self) -> str | None:
        """The name of the tool that the reference calls; None where it answers, or that is not known."""
        named = self.record.extra.get("tool_info_gt")
        return str(named["name"]) if isinstance(named, dict) and named.get("name") else None

    @cached_property
    def key(self) -> Key:
        """The right answer; raises DataError where the row has none."""
        fields = {name: self.columns.get(name) for name in ("answers", "choices", "decimals", "tolerance", "metric")}
        return key_of({"answer": self.record.answer, **fields})

    @cached_property
    def images(self) -> Sequence[StoredImage | ShownImage]:
        """The history, oldest first."""
        if self.shown:
            return [ShownImage(shown) for shown in self.shown]
        return [StoredImage(picture) for picture in self.record.images]

    @property
    def original(self) -> Size:
        """(width, height) in px of the file of the first image."""
        return self.files[0] if self.files else self.images[0].size

    @cached_property
    def view(self) -> View:
        """What tool calls are checked against: the sizes as shown; the published program takes those of the files."""
        files = [image.size for image in self.images]
        if self.strict == "published" or self.shown:
            return self._spoken.view(files, self.files)
        squares = announced_squares(self.record, files, self._spoken)
        shown = display_sizes(self.record, files, self._spoken, squares)
        inputs = input_sizes(self.record, files)
        return self._spoken.view([size for size in shown if size], [size for size in inputs if size])

    @property
    def _spoken(self) -> Spoken:
        return Spoken(self.protocol, self.coordinates)

    @cached_property
    def before(self) -> Sequence[Turn | None]:
        """The replies before this one; None for what is not in the format."""
        return [self._turns.get(at) for at, each in enumerate(self.record.messages) if each.role == "assistant"]

    @property
    def thoughts(self) -> list[str]:
        """What was thought before."""
        return [turn.think for turn in self.before if turn]

    @cached_property
    def calls(self) -> Sequence[CallResult]:
        """The tool calls before this reply, oldest first; replies that cannot be read are among them."""
        if self.carried is not None:
            return list(self.carried)
        return self._walked[0] if self.before else []

    def check(self, tool: ToolText, view: View) -> Call:
        """A call as it is carried out; raises ToolError where it is not."""
        if self.strict == "published":
            call = published.check(tool, view)
            if self.reference_tool is None:
                raise published.RaisedError("the row has no tool_info_gt")
            return call
        checked = tools.checked(tool, view, self._offered)
        if checked.deviations and not self._spoken.shows_errors:
            raise ToolError(inexact(checked.call, checked.deviations, tool.arguments, view))
        return checked.call

    def carried_out(self, calls: Sequence[ToolText]) -> list[CallResult]:
        """What comes of the calls of one reply, each of which sees what those before it make."""
        view, actions = self.view, list[CallResult]()
        history = self._walked[1].copy() if len(calls) > 1 else None
        for tool in calls:
            try:
                call = self.check(tool, view)
                if history:
                    for each in history.run(call)[1]:
                        history.add(*each)
                    view = msgspec.structs.replace(view, sizes=history.sizes)
                actions.append(CallResult(tool, call))
            except ValueError as error:  # a ToolError, or what it makes cannot be shown
                if not self._spoken.shows_errors:
                    raised = isinstance(error, published.RaisedError)
                    return [CallResult(each, fault=str(error), raised=raised) for each in calls]
                actions.append(CallResult(tool, fault=str(error)))
        return actions

    def history_for(self, index: int) -> History:
        """The images before the reply, of which image `index` can be cut from: others may be without colours."""
        history = self._walked[1].copy()
        for at in {index, history.places[index].root}:
            known = history.images[at]
            image, full = self.images[at], known.full_source and known.full_size
            history.images[at] = Shown(
                image.pixels(known.size).pixels, original=known.original, full=full and image.pixels(full).pixels
            )
        return history

    def _pixels(self, at: int, size: Size) -> Image.Image:
        """An image of the history; without colours if only tools of this package may be called, which read none."""
        if not set(self._offered or tools.known()) <= tools.discover().keys():
            return self.images[at].pixels(size).pixels
        return StandIn(size)

    @property
    def _offered(self) -> Sequence[str] | None:
        return self.protocol.tools if self.protocol else None

    @cached_property
    def made_by(self) -> Sequence[Call | None]:
        """For each image of the history the call that made it; None for inputs, and for what cannot be read."""
        made: list[Call | None] = [None] * len(self.view.sizes)
        for each in self.calls:
            for image in each.images:
                made[image] = each.call
        return made

    @cached_property
    def _walked(self) -> tuple[Sequence[CallResult], History]:
        """The calls before the reply, and the history of images after them."""
        walk = StoredWalk(
            self.record, self._turns, self._spoken, self.view.sizes, self.view.originals,
            tools.known() if self._offered is None else tools.offered(self._offered), self._pixels,
        )  # fmt: skip
        log = [each for step in walk for each in self._results(step)]
        assert walk.history  # each image opens
        return log, walk.history

    def _results(self, step: Step) -> Iterator[CallResult]:
        unread = [StepCall(None, error=ValueError("it is not in the format"), images=step.images)]
        for each in step.calls if step.turn else unread:
            shown = self.view.sizes[each.images[0]] if each.images else None
            yield CallResult(each.tool, each.call, str(each.error) if each.error else None, shown, images=each.images)

    @cached_property
    def _turns(self) -> Mapping[int, Turn]:
        return read_turns(self.record, self.grammar)[0]


def prompt_of(
    record: Record, coordinates: Coordinates = "pixel", strict: Strict = "own", protocol: Protocol | None = None
) -> Prompt:
    """The prompt of a row of single units; a reply that its record ends with is the reference."""
    reference = None
    if record.messages and record.messages[-1].role == "assistant":
        reference = record.messages[-1].content
        record = msgspec.structs.replace(record, messages=record.messages[:-1])
    return Prompt(record, coordinates, strict, reference, protocol=protocol)


class Sample(msgspec.Struct, frozen=True):
    """A reply under reward: what terms are functions of.

    Args:
        text: the reply.
        prompt: what was known before it.
        turn: the reply as it was read, even if its call is at fault; None where it is not in the format.
        checked: its tool calls that were carried out, each with its box in pixels of the shown image.
        fault: why the reply is not taken; None where it is.
        why: the reasons of terms for their values, each under its name.
        asked: values that several terms need, each under its name, so that a judge is asked once.
        done: its calls in the action log.
    """

    text: str
    prompt: Prompt
    turn: Turn | None = None
    checked: tuple[Call, ...] = ()
    fault: str | None = None
    why: dict[str, str] = {}
    asked: dict[str, Awaitable[float | None]] = {}
    done: Sequence[CallResult] = ()

    @property
    def call(self) -> Call | None:
        """Its first tool call."""
        return self.checked[0] if self.checked else None

    @property
    def raised(self) -> bool:
        """Whether the published program raises for it: then it has no terms, and its reward is 0."""
        return any(action.raised for action in self.done)

    @property
    def kind(self) -> Literal["answer", "tool"] | None:
        """What a reply that is taken does."""
        if self.fault or not self.turn:
            return None
        return "tool" if self.turn.calls else "answer"

    @property
    def answer(self) -> str | None:
        """What a reply that is taken answers; None where it does not."""
        return self.turn.answer if self.turn and not self.fault else None

    @property
    def calls(self) -> Sequence[CallResult]:
        """The action log: the tool calls of the rollout up to this reply, its own as the last."""
        if self.done:
            return [*self.prompt.calls, *self.done]
        if self.turn is None:
            return [*self.prompt.calls, CallResult(None, fault=self.fault)]
        return list(self.prompt.calls)

    def carrying_out(self, actions: Sequence[CallResult]) -> "Sample":
        checked = tuple(each.call for each in actions if each.call)
        fault = next((each.fault for each in actions if each.fault), None)
        return msgspec.structs.replace(self, checked=checked, fault=fault, done=tuple(actions))


def sample(text: str, prompt: Prompt) -> Sample:
    """Read a reply as the prompt's `strict` says; only an image that cannot be read raises (DataError)."""
    read = parsed(text, prompt)
    return read.carrying_out(prompt.carried_out(read.turn.calls)) if read.turn else read


def parsed(text: str, prompt: Prompt) -> Sample:
    """A reply as it was read, with none of its calls carried out."""
    if repeats(text, REPEAT_LIMIT):
        return Sample(text, prompt, fault=f"it repeats a pattern {REPEAT_LIMIT} times in a row")
    try:
        turn = published.parse(text) if prompt.strict == "published" else parse(text, prompt.grammar)
    except FormatError as error:
        return Sample(text, prompt, fault=str(error))
    return Sample(text, prompt, turn)
