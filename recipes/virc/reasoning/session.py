"""A problem as a state machine without I/O: what the model is asked next, and what its reply means.

`Session.next()` says what to ask. `Session.feed()` takes the reply: `_read` parses it, `_carried_out` carries its calls
out, and `_accept` appends the unit, or the reply is rejected. Transport, tries and sampling belong to the driver (solve
resamples warmer, RL never retries).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from itertools import chain
from typing import Any

import msgspec
from PIL import Image

from virc.reasoning import lenient
from virc.reasoning.bodies import BOX, INDEX
from virc.reasoning.calls import Checked, Tool, ToolError, View, find_tool
from virc.reasoning.checking import check_call, inexact, properties
from virc.reasoning.coordinates import UnitError, resolve_index, settled_box
from virc.reasoning.grammar import as_written
from virc.reasoning.history import History, ToolFailedError, show_input
from virc.reasoning.images import OpenedImage, Shown
from virc.reasoning.marks.special_tokens import leading_thoughts, own_turn, without_special
from virc.reasoning.media import lines_of, parts_of_files
from virc.reasoning.messages import FormatError, ToolText, Turn, parse, printable, stopped
from virc.reasoning.protocol import ErrorKind, Protocol, fill
from virc.reasoning.repetition import repeats
from virc.reasoning.resize import QWEN2, Grid
from virc.reasoning.trace import (
    CallResult,
    Earlier,
    Failure,
    FailureKind,
    ImageRecord,
    Message,
    Rejected,
    RejectionKind,
    Reply,
    Trace,
    Unit,
)
from virc.reasoning.turns import MARK, PLACE, SeenTurns, following, further, opening, with_marks_repeated
from virc.reasoning.writing import assembled

__all__ = ["SOLVE", "Ask", "Done", "Message", "Rejected", "Reply", "Session", "Unit", "show_input"]

SOLVE = frozenset({"box_clamped", "factor_snapped"})
_MAX_CHARACTERS = 200_000
_TOOL_FAILED = "the tool failed"
_SHOWN = ("json", "tool", "deviation")
"""Kinds of errors that are shown to a model whose protocol says so. A reply with another one is drawn again: such as a
box in another unit, which is for the user to look into.
"""


class Ask(msgspec.Struct, frozen=True):
    """What to send: the whole conversation and every image shown so far, oldest first.

    Args:
        messages, images: of the conversation. If the last message is the assistant's, the reply continues its turn.
        stop: texts that end the reply and stay in it. If a backend cannot stop there, a Session cuts its reply.
        schemas: function schemas for the server to offer as `tools`; empty: the system message lists the tools.
        json_schema: the reply is to be JSON that fits it, if the backend can constrain it so.
        own_marks: what the chat protocol writes between bars itself, such as <|begin_of_thought|>.
        called: with `schemas`, position of an assistant message -> its calls. The message behind it brings their
            images; without images it only repeats their results.
    """

    messages: Sequence[Message]
    images: Sequence[Shown]
    stop: Sequence[str] = ()
    schemas: Sequence[Mapping[str, Any]] = ()
    called: Mapping[int, lenient.Sent] = {}
    json_schema: Mapping[str, Any] | None = None
    own_marks: Sequence[str] = ()

    @property
    def continues(self) -> bool:
        """Whether the reply continues a turn of the assistant that has begun."""
        return bool(self.messages) and self.messages[-1].inserted == "inline"

    def without(self, gone: Set[int], text: str) -> "Ask":
        """The conversation with a text in the place of each of these images; the others keep their numbers."""
        messages, called = [*self.messages], dict(self.called)
        for at, message in enumerate(self.messages):
            if not gone.isdisjoint(message.images):
                said, left = "", list[tuple[int, int]]()
                for part in message.parts():
                    if isinstance(part, int) and part not in gone:
                        left.append((part, len(said)))
                    else:
                        said += text if isinstance(part, int) else part
                images, places = tuple(index for index, _ in left), tuple(place for _, place in left)
                messages[at] = msgspec.structs.replace(message, text=said, images=images, at=places)
                if not left and at - 1 in called:
                    told = tuple(each or text.strip() for each in called[at - 1].results)
                    called[at - 1] = msgspec.structs.replace(called[at - 1], results=told)
        return msgspec.structs.replace(self, messages=messages, called=called)

    def turns(self) -> Iterator["ChatTurn"]:
        """The conversation as turns. A result inside the assistant's turn, and what follows it, belong to that turn; if
        the server makes the calls, a message that only repeats their results is left out.
        """
        begun: ChatTurn | None = None
        inline = False
        for position, message in enumerate(self.messages):
            if position - 1 in self.called and not message.images:
                continue
            turn = ChatTurn(message.role, tuple(message.parts()), self.called.get(position))
            if begun and (inline or message.inserted == "inline"):
                begun = ChatTurn("assistant", begun.parts + turn.parts)
            else:
                if begun:
                    yield begun
                begun = turn
            inline = message.inserted == "inline"
        if begun:
            yield begun


class ChatTurn(msgspec.Struct, frozen=True):
    """A turn as chat servers know them."""

    role: str
    parts: tuple[str | int, ...]  # pieces of text, and indices of images, in order
    called: lenient.Sent | None = None  # its calls, if the server makes them

    @property
    def text(self) -> str:
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def images(self) -> list[int]:
        return [part for part in self.parts if isinstance(part, int)]


class Done(msgspec.Struct, frozen=True):
    """The problem is over; the trace has an answer or a failure."""

    trace: Trace


class _RefusalError(Exception):
    def __init__(self, kind: RejectionKind, reason: str, fault: ToolError | None = None) -> None:
        super().__init__(reason)
        self.kind: RejectionKind = kind
        self.fault = fault


class Session:
    """One problem from its first question to its answer.

    Args:
        protocol: the chat protocol and the rules of the model that is asked.
        question: as the user wrote it.
        images: upright RGB pictures (`open_image`), in the order the question means; or what `show_input` made of
            them, so that sessions on the same problem share them. There may be none where an offered tool takes none.
        tools: by name; those that the chat protocol offers may be called.
        grid: the patch grid the model sees images on.
        tolerate: the deviations of tool calls that are forgiven; replies with others are rejected.
        max_turns: accepted units after which the problem ends without an answer.
        on_tool_failure: gets the error of a tool that itself fails; the model is shown that its call failed, whatever
            `errors` of the chat protocol is but `end`. None: the error is raised.

    Raises:
        ValueError: there is no image and every tool needs one, or one cannot be shown.
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
        on_tool_failure: Callable[[str], None] | None = None,
    ) -> None:
        if not images and all(INDEX in properties(tools[name]) for name in protocol.tools if name in tools):
            raise ValueError("a problem needs at least one image, or a tool that takes none")
        self.protocol, self.max_turns = protocol, max_turns
        self.tolerate = SOLVE if protocol.errors == "show" else tolerate
        self.history = History(images, protocol, grid, tools)
        places = [each.place for each in self.images]
        self.question = printable(with_marks_repeated(question, parts_of_files(places)))
        self._on_tool_failure = on_tool_failure
        self._messages = opening(protocol, self.question, self.history.sizes, lines_of(places, protocol))
        self._units: list[Unit] = []
        self._pending: list[Rejected] = []
        self._repeated: dict[int, lenient.Sent] = {}  # position of an assistant message -> how requests repeat it
        self._answer: str | None = None
        self._failure: Failure | None = None
        self._earlier: list[Earlier] = []
        self._is_replay = False

    @property
    def images(self) -> list[Shown]:
        """Every image shown, oldest first."""
        return self.history.images

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
        content = text = own_turn(printable(reply.text[:_MAX_CHARACTERS]))
        if self.protocol.reading != "lenient":
            text = assembled(text, reply.thought and printable(reply.thought), reply.calls, self.protocol.grammar)
        text = stopped(text, self.protocol.grammar)
        if stopped(content, self.protocol.grammar) != printable(reply.text):  # the ids have more than the text
            reply = msgspec.structs.replace(reply, token_ids=None)
        history = self.history.copy()
        try:
            parsed, results = self._carried_out(self._read(text, reply), history)
            # of a stock model's reply, the trace has its turn as the grammar writes it
            traced = lenient.canonical(parsed.turn, self.protocol.grammar) if parsed.sent else text
        except (_RefusalError, FormatError) as refused:
            if self._is_redrawn(refused):
                rejected = Rejected(text, refused.kind, str(refused))
                self._pending.append(rejected)
                return rejected
            history, traced, results = self.history, text, (self._refused(refused),)
            parsed = lenient.ParsedReply(Turn(""))
        if parsed.sent:
            self._repeated[len(self._messages)] = msgspec.structs.replace(parsed.sent, message=reply.message)
        self.history = history
        return self._accept(reply, traced, parsed.turn, results)

    def ask(self, question: str) -> None:
        """Ask a further question about the same images, once the last one has its answer."""
        if self._answer is None:
            raise RuntimeError("the last question has no answer yet")
        self._earlier.append(Earlier(self._asked, self._answer, len(self._units)))
        self.question, self._answer = printable(question), None
        self._messages.append(further(self.protocol, self.question))

    def replay(self, former: Trace) -> bool:
        """Make a conversation again that began with this question: feed its replies, which calls its tools again.

        Returns whether it has become the same: its messages and the sizes and places of its images.
        """
        self.protocol = self.history.protocol = former.protocol  # how the model counts boxes was found out on the way
        self._is_replay = True
        for number, unit in enumerate(former.units):
            if self._answer is not None and number in former.questions:
                self.ask(former.questions[number])
            if isinstance(self.next(), Done):
                return False
            self._pending = [*unit.rejected]
            counts = {name: getattr(unit, name) for name in ("token_ids", "prompt_tokens", "completion_tokens")}
            self.feed(msgspec.structs.replace(unit.reply or Reply(unit.text), **counts))
        self._is_replay = False
        made = self.trace()
        return made.messages == former.messages and made.images == former.images and made.answer == former.answer

    def stop(self, kind: FailureKind, message: str) -> None:
        """End without an answer, for a reason outside the conversation; what is over stays as it is."""
        if self._answer is None and self._failure is None:
            self._failure = Failure(kind, message)
            self.history.kept.clear()

    def explain(self, cause: str) -> None:
        """Add to why it ended without an answer, if it did."""
        if self._failure:
            self._failure = msgspec.structs.replace(self._failure, message=self._failure.message + cause)

    def trace(self) -> Trace:
        """Everything up to now, finished or not."""
        return Trace(
            question=self._asked,
            protocol=self.protocol,
            images=[self._record(index, shown) for index, shown in enumerate(self.images)],
            messages=list(self._messages),
            units=list(self._units),
            answer=self._answer,
            failure=self._failure,
            pending=tuple(self._pending),
            earlier=tuple(self._earlier),
        )

    @property
    def _asked(self) -> str:
        return self.question.replace(PLACE, MARK)

    @property
    def view(self) -> View:
        return self.history.view

    def _ask(self) -> Ask:
        schemas = self.protocol.schemas
        messages = list(self._messages)
        called = {}
        for at, sent in self._repeated.items():  # replies of a stock model as it wrote them, without thoughts
            messages[at] = Message("assistant", sent.text)
            if schemas and sent.calls:
                unit = self._units[sum(each.role == "assistant" and not each.inserted for each in messages[:at])]
                results = tuple(each.error or each.text for each in unit.results)
                called[at] = msgspec.structs.replace(sent, results=results)
        stop, marks = self.protocol.grammar.stop, tuple(filter(str.strip, chain(*self.protocol.grammar.parts())))
        ask = Ask(tuple(messages), tuple(self.images), stop, schemas, called, own_marks=marks)
        stay = self.protocol.images_stay
        return ask.without(_old_images(messages, stay), self.protocol.image_gone) if stay else ask

    def _record(self, index: int, shown: Shown) -> ImageRecord:
        file, region = f"image-{index}.png", self.history.region(index)
        return ImageRecord(index, shown.width, shown.height, file, shown.parent, shown.box, region, shown.place)

    def _read(self, text: str, reply: Reply) -> lenient.ParsedReply:
        if reply.refusal is not None:
            raise _RefusalError("refusal", f"the model does not answer: {reply.refusal[:200]}")
        if len(reply.text) + len(reply.thought or "") > _MAX_CHARACTERS:
            raise _RefusalError("length", f"the reply is longer than {_MAX_CHARACTERS} characters")
        if repeats(text, self.protocol.repeat_limit):
            times = self.protocol.repeat_limit
            raise _RefusalError("repetition", f"the reply repeats a pattern {times} times in a row")
        try:
            if self.protocol.reading != "lenient":
                return lenient.ParsedReply(self._strictly(text))
            thought, cut = reply.thought and printable(reply.thought), reply.finish == "length"
            given: dict[str, Any] = {"thought": thought, "calls": reply.calls, "cut": cut, "question": self.question}
            parsed = lenient.read_leniently(text, self.protocol.grammar, self._offered, **given)
        except FormatError as error:
            if reply.finish == "length" and error.kind == "tags":
                raise _RefusalError("length", "the token limit cut the reply before its last tag") from None
            raise
        if reply.finish == "call" and not parsed.turn.calls:
            raise _RefusalError("tags", "the server says that the reply calls a tool, and sent no call")
        return parsed

    def _strictly(self, text: str) -> Turn:
        """A reply as its grammar reads it, its answer without special tokens.

        Raises:
            FormatError: it is in another format; or its answer, which has no marks, is a call or a thought in those of
                a family of models.
        """
        turn = parse(text, self.protocol.grammar)
        if turn.answer is None:
            return turn
        if self.protocol.grammar.answer is None:
            thought, rest = leading_thoughts(turn.answer)
            if thought and not rest.strip():
                raise FormatError("tags", "the reply is a thought without a call or an answer")
            if lenient.makes_call(turn.answer, self._offered):
                raise FormatError("tags", "the reply calls a tool in marks that are not those of its chat protocol")
        return msgspec.structs.replace(turn, answer=without_special(turn.answer).strip() or turn.answer)

    @property
    def _offered(self) -> dict[str, Tool]:
        return {name: tool for name, tool in self.history.tools.items() if name in self.protocol.tools}

    def _carried_out(
        self, parsed: lenient.ParsedReply, history: History
    ) -> tuple[lenient.ParsedReply, tuple[CallResult, ...]]:
        """Carry out the calls of a reply, in order; return the reply with the calls as they were carried out."""
        calls, results = [], []
        for tool in parsed.turn.calls:
            try:
                meant = self._completed(tool, history.view) if parsed.sent else tool
                results.append(self._result(self._check(meant, history.view), history))
            except _RefusalError as error:
                reason = as_written(str(error), tool.name, self.protocol.grammar)
                refused = _RefusalError(error.kind, reason, error.fault)
                if self._is_redrawn(refused):
                    raise refused from None
                meant = tool
                results.append(self._refused(refused))
            calls.append(meant)
        return parsed.calling(calls) if calls else parsed, tuple(results)

    def _is_redrawn(self, refused: _RefusalError | FormatError) -> bool:
        return self.protocol.errors == "redraw" or refused.kind not in _SHOWN

    def _completed(self, tool: ToolText, view: View) -> ToolText:
        """A call of a stock model, with the index of the only image if it lacks one, and its box in whole numbers."""
        arguments = dict(tool.arguments)
        if hasattr(self.history.tools.get(tool.name), "read"):  # the tool itself reads images and boxes
            return tool
        if INDEX not in arguments and len(view.sizes) == 1:
            arguments[INDEX] = 0
        try:
            if tool.name in self.protocol.tools:
                allowed = properties(find_tool(self.history.tools, tool.name))
                arguments = {key: value for key, value in arguments.items() if key in allowed}
            if BOX in arguments and INDEX in arguments:
                index, _ = resolve_index(arguments[INDEX], view)
                arguments[BOX] = settled_box(arguments[BOX], view, index)
        except UnitError as error:
            raise _RefusalError("unit", str(error), error) from None
        except ToolError as error:
            raise _RefusalError("tool", str(error), error) from None
        return ToolText(tool.name, arguments)

    def _check(self, tool: ToolText, view: View) -> Checked:
        try:
            checked = check_call(find_tool(self.history.tools, tool.name, self.protocol.tools), tool.arguments, view)
        except ToolError as error:
            raise _RefusalError("tool", str(error), error) from None
        intolerable = [name for name in checked.deviations if name not in self.tolerate]
        if intolerable:
            raise _RefusalError("deviation", inexact(checked.call, intolerable, tool.arguments, view))
        return checked

    def _result(self, checked: Checked, history: History) -> CallResult:
        try:
            text, made = history.run(checked.call)
        except ToolFailedError as error:
            if self._on_tool_failure is None:
                raise
            self._on_tool_failure(error.message)
            return CallResult(error=_TOOL_FAILED, reason=_TOOL_FAILED, failed=True)
        except ValueError as error:  # an image of aspect 200 may be shown a little longer than that
            raise _RefusalError("tool", str(error), error if isinstance(error, ToolError) else None) from None
        images = tuple(history.add(shown, place) for shown, place in made)
        return CallResult(checked.call, images, printable(text), deviations=checked.deviations)

    def _refused(self, refused: _RefusalError | FormatError) -> CallResult:
        fault = refused.fault if isinstance(refused, _RefusalError) else refused
        kind: ErrorKind | None = "call" if isinstance(fault, FormatError) else fault.kind if fault else None
        text = self.protocol.error_texts.get(kind) if kind else None
        reason = str(refused)
        shown = reason if text is None else fill(text, error=reason, **(fault.values if fault else {}))
        return CallResult(error=shown, reason=reason)

    def _accept(self, reply: Reply, text: str, turn: Turn, results: tuple[CallResult, ...]) -> Unit:
        unit = Unit(
            text=text,
            think=turn.think,
            results=results,
            answer=turn.answer,
            rejected=tuple(self._pending),
            token_ids=reply.token_ids,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            reply=_uncounted(reply) if self.protocol.reading == "lenient" else None,
        )
        self._units.append(unit)
        self._pending.clear()
        self._messages.append(Message("assistant", text, token_ids=reply.token_ids))
        reason = next((each.reason for each in results if each.reason is not None), None)
        if turn.answer is not None:
            refusals = {"", *(refusal.strip().casefold() for refusal in self.protocol.refusals)}
            if turn.answer.casefold() in refusals:
                self._failure = Failure("no_answer", f"the model answered {turn.answer!r}")
            else:
                self._answer = turn.answer
        elif reason is not None and self.protocol.errors == "end":
            self._failure = Failure("no_answer", f"a tool call cannot be carried out: {reason}")
        else:
            self._show(results)
        if (self._answer is not None and not self._is_replay) or self._failure is not None:
            self.history.kept.clear()
        return unit

    def _show(self, results: Sequence[CallResult]) -> None:
        """Append the messages that show the results of calls; after the last turn, the problem fails."""
        history, protocol = self.history, self.protocol
        templates = [getattr(protocol, history.tools[each.call.name].TEMPLATE) if each.call else "" for each in results]
        turns = len(self._units) - (self._earlier[-1].units if self._earlier else 0)  # of the last question
        lines = lines_of([each.place for each in history.images], protocol)
        said = lines if any(lines[index] for each in results for index in each.images) else ()
        seen = SeenTurns(self.question, history.sizes, history.inputs, turns, said)
        self._messages += following(protocol, list(zip(results, templates, strict=True)), seen)
        if turns >= self.max_turns and not self._is_replay:
            reason = next((each.reason for each in results if each.reason is not None), None)
            last = f"; the last tool call could not be used: {reason}" if reason else ""
            self._failure = Failure("turns", f"no answer after {self.max_turns} turns{last}")


def _old_images(messages: Sequence[Message], replies: int) -> set[int]:
    """The images of results that so many replies have seen."""
    spoken = [at for at, each in enumerate(messages) if each.role == "assistant" and not each.inserted]
    old = messages[spoken[0] : spoken[-replies]] if len(spoken) >= replies else ()
    return {index for each in old for index in each.images}


def _uncounted(reply: Reply) -> Reply:
    return Reply(reply.text, finish=reply.finish, thought=reply.thought, calls=reply.calls, message=reply.message)
