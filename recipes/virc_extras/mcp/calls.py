"""Carries out the tools of the MCP server; the protocol itself is in `mcp.server`.

`ToolCalls.call` is the entry: it reads the arguments, has one method carry out the tool, and fits the reply into the
limit of characters (`_within`). The tools that give a picture share `_make_picture`.
"""

import asyncio
import base64
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

from virc.config import validation
from virc.core.errors import DataError, NoAnswerError, SetupError
from virc.core.extras import install
from virc.core.limits.image_memory import of_client
from virc.core.limits.problem import check_problem
from virc.core.text import clause, counted, plain
from virc.reasoning.calls import Call, ToolError, View
from virc.reasoning.encoded import Encoded, as_png
from virc.reasoning.images import OpenedImage, Shown
from virc.reasoning.media import MediaChoice
from virc.reasoning.opening.pictures import check_header, opened_all
from virc.reasoning.protocol import Coordinates
from virc.reasoning.resample import Rescaled, resampled
from virc.reasoning.resize import MAX_PIXELS
from virc.reasoning.trace import ImageRecord, Trace
from virc.scoring.answers import score
from virc.scoring.score import Key, Verdict
from virc.scoring.symbolic import Symbolic, formula
from virc.serving.agent.request_queue import LeftError
from virc.solving.image_source import Unfolded, unfolded, warnings_of
from virc.solving.outcome import chosen
from virc.solving.traces.page import in_words
from virc.tools import registry as tools
from virc.tools.scale import FACTORS
from virc_extras.mcp import messages
from virc_extras.mcp.asking import Model, OnStep
from virc_extras.mcp.coercion import converted
from virc_extras.mcp.pictures import IMAGE, Readable, file_of, given, in_reply, pixels_of, smaller
from virc_extras.mcp.result_store import ResultStore

_JSON_OVERHEAD = 100  # characters of JSON around a part
_MIN_PICTURE = 2000  # characters in base64 to which a picture may be shrunk
TRACE = "trace"
"""The beginning of the names of kept traces."""
_UNITS: Mapping[str, Coordinates] = {
    "pixel": "pixel", "permille": "permille", "thousand": "thousand", "fraction": "unit",
}  # fmt: skip

_TYPES: Mapping[str, str] = {"array": "a list", "str": "a text", "float": "a number", "int": "a whole number"}
"""How errors call the types of JSON."""
_PictureResult = tuple[Encoded, messages.KeptPicture]
"""The picture that a tool gives, as it is sent, and the fields of its result."""


class CallReply(msgspec.Struct, frozen=True):
    """Result of a call: `parts` for any client, the last of which is `fields` as JSON; `fields` for some clients."""

    parts: Sequence[str | Encoded]
    fields: msgspec.Struct


class _Steps(msgspec.Struct, frozen=True):
    """How an answer came about, kept for the tool `trace`; `files` are the images of its trace."""

    trace: Trace
    question: str
    files: Sequence[Encoded]


class ToolCalls:
    def __init__(self, model: Model, readable: Readable, store: ResultStore, most: int = messages.RESULT) -> None:
        self._model, self._readable, self._store, self._max_characters = model, readable, store, most
        self._algebra: Symbolic | None = None
        self._algebra_lock = threading.Lock()

    async def call(self, name: str, arguments: Mapping[str, Any], session: str, on_step: OnStep) -> CallReply:
        tool = messages.TOOLS.get(name)
        if tool is None:
            raise DataError(f"there is no tool {plain(name, 60)!r}; there are: {', '.join(messages.TOOLS)}")
        try:
            request = converted(arguments, tool.takes)
        except (ValueError, RecursionError) as error:
            raise _argument_error(name, arguments, tool.takes, error) from None
        match request:
            case messages.Ask():
                reply = await self._ask(request, session, on_step)
            case messages.Crop():
                reply = await self._make_picture(request, session, self._crop)
            case messages.Scale():
                reply = await self._make_picture(request, session, self._scale)
            case messages.Show():
                reply = await self._make_picture(request, session, self._show)
            case messages.Evaluate():
                reply = await asyncio.to_thread(self._evaluate, request)
            case _:
                assert isinstance(request, messages.TraceOf)
                reply = await asyncio.to_thread(self._trace, request, session)
        return await asyncio.to_thread(_within, reply, self._max_characters)

    def close(self) -> None:
        self._model.close()
        if self._algebra:
            self._algebra.close()

    async def _make_picture(
        self, request: Any, session: str, make: Callable[[Any, OpenedImage, bytes, str], _PictureResult]
    ) -> CallReply:
        """Open the picture of a request in a thread, and have `make` give another one; stops if the client leaves."""
        source = await given(request.image, self._store, session, self._readable)
        left = threading.Event()

        def check_listener() -> None:
            if left.is_set():
                raise LeftError("nobody waits for the picture")

        def work() -> CallReply:
            part = self._part(request, source, check_listener)
            data, name = part.file
            with opened_all([(data, name)], of_client(check_listener), partial(_bytes_made, request)) as pictures:
                file, fields = make(request, pictures[0], data, session)
                warnings = warnings_of([part], pictures)
                return _reply([file, *warnings], msgspec.structs.replace(fields, warnings=warnings))

        try:
            return await asyncio.to_thread(work)
        finally:
            left.set()

    def _part(self, request: messages.OnePicture, source: bytes | Path, check: Callable[[], None]) -> Unfolded:
        """The picture that a request names, of a clip or PDF the frame or page."""
        files, choice = [file_of(source, self._readable)], MediaChoice((request.page,), (request.at,))
        return next(unfolded(files, [source], choice, check=check))

    def _crop(self, request: messages.Crop, image: OpenedImage, _: bytes, session: str) -> _PictureResult:
        view = View([image.size], _UNITS[request.unit], float_boxes=True)
        arguments = {"bbox_2d": request.box, "image_index": 0}
        call, deviations = _check_call("crop_image", arguments, view)
        pixels = _apply(call, image.pixels)
        assert call.box
        picture, file = self._keep(pixels, as_png(pixels).data, session, request.max_side)
        clamped = "box_clamped" in deviations
        return file, messages.Cropped(**picture, box=list(call.box), clamped=clamped)

    def _scale(self, request: messages.Scale, image: OpenedImage, data: bytes, session: str) -> _PictureResult:
        if abs(request.factor - 1) < min(abs(request.factor - offered) for offered in FACTORS):
            picture, file = self._keep(image.pixels, data, session, request.max_side)
            return file, messages.Scaled(**picture, factor=1.0)
        arguments = {"scale_factor": request.factor, "image_index": 0}
        call, _deviations = _check_call("scale_image", arguments, View([image.size]))
        assert call.factor
        width, height = (int(side * call.factor) for side in image.size)
        if width * height > MAX_PIXELS:
            raise DataError(f"the picture would have {width} x {height} px, over {MAX_PIXELS // 10**6} million")
        pixels = _apply(call, image.pixels)
        picture, file = self._keep(pixels, as_png(pixels).data, session, request.max_side)
        return file, messages.Scaled(**picture, factor=call.factor)

    def _show(self, request: messages.Show, image: OpenedImage, data: bytes, session: str) -> _PictureResult:
        picture, file = self._keep(image.pixels, data, session, request.max_side)
        return file, messages.KeptPicture(**picture)

    def _keep(self, pixels: Image.Image, data: bytes, session: str, side: int) -> tuple[dict[str, Any], Encoded]:
        """Keep a picture's file for later calls; returns the fields of its result, and the picture as it is sent."""
        file, exact = in_reply(pixels, side)
        name = self._store.keep(session, IMAGE, data, len(data))
        return {"image_id": name, "width": pixels.width, "height": pixels.height, "exact": exact}, file

    async def _ask(self, request: messages.Ask, session: str, on_step: OnStep) -> CallReply:
        names = [request.image, *request.more_images]
        check_problem([each[:1] for each in names], request.question)
        sources = [await given(each, self._store, session, self._readable) for each in names]

        def read_all() -> list[Unfolded]:
            files = [file_of(source, self._readable) for source in sources]
            parts = [*unfolded(files, sources, request.choice)]
            for part in parts:  # before the model is loaded
                check_header(part.file, of_client())
            return parts

        parts_asked = await asyncio.to_thread(read_all)
        files = [part.file for part in parts_asked]
        model, solved, pictures = await self._model.ask(parts_asked, request.question, request.samples, on_step)
        if solved.error and not isinstance(solved.error, NoAnswerError):
            raise solved.error
        sample = chosen(solved)
        ids = [self._store.keep(session, IMAGE, data, len(data)) for data, _ in files]
        warnings = await asyncio.to_thread(warnings_of, parts_asked, pictures)
        sizes = [each.original or each.size for each in pictures]
        looks, parts = await asyncio.to_thread(self._looks, sample.trace, sample.images, sizes, ids, session, request)
        steps = _Steps(sample.trace, request.question, [shown.file for shown in sample.images])
        trace_id = self._store.keep(session, TRACE, steps, sum(len(file.data) for file in steps.files))
        votes = next((count for answer, count in solved.votes if answer == solved.answer), 0)
        answered = messages.Answered(
            answer=solved.answer, reason=str(solved.error) if solved.error else None, model=model.name,
            turns=len(sample.trace.units),
            confidence=votes / request.samples if request.samples > 1 and solved.answer is not None else None,
            image_ids=ids, looks=looks, trace_id=trace_id, warnings=warnings,
        )  # fmt: skip
        answer = solved.answer if solved.answer is not None else f"no answer: {solved.error}"
        return _reply([answer, *warnings, *parts], answered)

    def _looks(
        self, trace: Trace, images: Sequence[Shown], sizes: Sequence[tuple[int, int]], ids: Sequence[str], session: str,
        request: messages.Ask,
    ) -> tuple[list[messages.Look], list[str | Encoded]]:  # fmt: skip
        """The pictures that the model's tool calls made, in order: their fields, and the parts of the reply."""
        names: dict[int, str] = dict(enumerate(ids))
        looks: list[messages.Look] = []
        parts: list[str | Encoded] = []
        for unit in trace.units:
            for result in unit.results:
                for index in result.images if result.call else ():
                    assert result.call
                    record, file = trace.images[index], images[index].file
                    picture, sent = self._keep(pixels_of(file), file.data, session, request.max_side)
                    names[index] = picture["image_id"]
                    source = None if record.parent is None else names.get(record.parent)
                    box = _box_in_pixels(record, trace, sizes)
                    looks.append(messages.Look(**picture, tool=result.call.name, source_id=source, box=box))
                    parts += [f"{in_words(result.call)}:", sent]
        return looks, parts

    def _evaluate(self, request: messages.Evaluate) -> CallReply:
        key = Key(request.reference, tuple(request.choices), request.decimals, request.tolerance)
        judged = score(request.answer, key, self._equal_by_algebra)
        lacks = f"only algebra could tell, which the server lacks: {install('eval')}"
        has_words = formula(request.answer) is None or formula(request.reference) is None
        match judged:
            case Verdict(right=True, by="symbolic"):
                verdict = messages.Verdict(verdict="right", by="algebra", reason="equal by algebra")
            case Verdict(right=True):
                verdict = messages.Verdict(verdict="right", by="rule", reason="the same text, number, unit or choice")
            case Verdict(by="rule"):
                verdict = messages.Verdict(verdict="wrong", by="rule", reason="another number, choice or refusal")
            case _ if has_words:
                reason = "the words differ, and no rule can tell whether they say the same"
                verdict = messages.Verdict(verdict="undecided", by=None, reason=reason)
            case _ if self._algebra is None:
                verdict = messages.Verdict(verdict="undecided", by=None, reason=lacks)
            case _:
                verdict = messages.Verdict(verdict="wrong", by="algebra", reason="not equal by algebra")
        return _reply([], verdict)

    def _equal_by_algebra(self, answer: str, reference: str) -> bool:
        """Whether two formulas are equal; False if math-verify is not installed."""
        with self._algebra_lock:
            if self._algebra is None:
                with suppress(SetupError):
                    self._algebra = Symbolic()
        return self._algebra.same(answer, reference) if self._algebra else False

    def _trace(self, request: messages.TraceOf, session: str) -> CallReply:
        steps = self._store.find(session, request.trace_id)
        if not isinstance(steps, _Steps):
            raise DataError(f"this session has no trace {plain(request.trace_id, 60)}")
        parts: list[str | Encoded] = []
        shown: list[messages.ModelTurn] = []
        for number, unit in enumerate(steps.trace.units, 1):
            parts.append(f"{number}. {unit.think}".rstrip())
            calls = []
            for result in unit.results:
                call = in_words(result.call) if result.call else "a call that cannot be carried out"
                calls.append(": ".join(filter(None, (call, result.error or result.text))))
                parts.append(calls[-1])
                parts += [in_reply(pixels_of(steps.files[index]), request.max_side)[0] for index in result.images]
            if unit.answer is not None:
                parts.append(f"answer: {unit.answer}")
            shown.append(messages.ModelTurn(thought=unit.think, calls=calls, answer=unit.answer))
        failure = steps.trace.failure.message if steps.trace.failure else None
        return _reply(parts, messages.Traced(question=steps.question, steps=shown, failure=failure))


def _bytes_made(request: Any, size: tuple[int, int]) -> int:
    """About how many bytes are made of a picture of that size for a request: 3 a pixel as RGB, and up to 4 as PNG."""
    if isinstance(request, messages.Show):
        return 0
    factor = 1.0
    if isinstance(request, messages.Scale):
        factor = min(FACTORS, key=lambda each: abs(each - request.factor))
    pixels = int(size[0] * factor) * int(size[1] * factor)
    return 7 * pixels if pixels <= MAX_PIXELS else 0  # refused before it is made


def _check_call(name: str, arguments: Mapping[str, object], view: View) -> tuple[Call, Sequence[str]]:
    try:
        checked = tools.get(name).check(arguments, view)
    except ToolError as error:
        reason = str(error).replace("bbox_2d", "box").replace("scale_factor", "factor")  # the names of our arguments
        raise DataError(reason) from None
    return checked.call, checked.deviations


def _argument_error(
    name: str, arguments: Mapping[str, Any], takes: type[messages.Arguments], error: Exception
) -> DataError:
    for fault in validation.faults(dict(arguments), takes, noun="argument"):
        if isinstance(fault, validation.Missing | validation.Unknown):
            return DataError(f"{name}: {fault.message}", fault.hint)
    # msgspec writes "Expected `float`, got `str` - at `$.box[0]`".
    reason, _, path = str(error).partition(" - at `$.")
    path = path.rstrip("`")
    for json_type, plain_name in _TYPES.items():
        reason = reason.replace(f"`{json_type}`", plain_name)
    if not path:
        return DataError(f"{name}: {clause(error)}")
    schema = messages.schema(takes)["properties"].get(path.partition("[")[0], {})
    hint = ", ".join(schema["enum"]) if "enum" in schema else schema.get("description")
    return DataError(f"{name}: {path} is wrong: {reason[:1].lower()}{reason[1:]}", hint)


def _apply(call: Call, source: Image.Image) -> Image.Image:
    result = tools.get(call.name).apply(call, source)
    assert isinstance(result, Rescaled)
    return resampled(result, result.size)


def _box_in_pixels(record: ImageRecord, trace: Trace, sizes: Sequence[tuple[int, int]]) -> list[int] | None:
    """The box of a crop in pixels of what it was cut from: of the file, if that is a picture of the question."""
    if record.box is None or record.parent is None:
        return None
    parent = trace.images[record.parent]
    width, height = sizes[record.parent] if record.parent < len(sizes) else (parent.width, parent.height)
    left, top, right, bottom = record.box
    across, down = width / parent.width, height / parent.height
    return [round(left * across), round(top * down), round(right * across), round(bottom * down)]


def _reply(parts: Sequence[str | Encoded], fields: msgspec.Struct) -> CallReply:
    """A reply whose last part is the fields as JSON, for clients that show nothing but parts."""
    return CallReply([*parts, msgspec.json.encode(fields).decode()], fields)


def _within(reply: CallReply, max_characters: int) -> CallReply:
    """A reply that takes at most `max_characters` characters as it is sent; its largest pictures are shrunk."""
    files = [part for part in reply.parts if isinstance(part, Encoded)]
    texts = [msgspec.json.encode(each) for each in (*reply.parts, reply.fields) if not isinstance(each, Encoded)]
    room = max_characters - sum(map(len, texts)) - _JSON_OVERHEAD * (len(reply.parts) + 1)
    limit = _largest_picture([_base64_length(file) for file in files], room)
    is_shrunk = [_base64_length(file) > limit for file in files]
    if room < 0 or (any(is_shrunk) and limit < _MIN_PICTURE):
        raise DataError(f"the result does not fit into {max_characters:,} characters", "virc mcp --max-result N")
    if not any(is_shrunk):
        return reply
    max_bytes = limit * 3 // 4 - 3  # base64 writes 3 bytes as 4 characters
    sent = iter([
        smaller(file, max_bytes) if shrinks else file for file, shrinks in zip(files, is_shrunk, strict=True)
    ])  # fmt: skip
    parts = [next(sent) if isinstance(part, Encoded) else part for part in reply.parts[:-1]]
    pictures = counted(len(files), "picture")
    parts.append(
        f"{sum(is_shrunk)} of {pictures} shrunk to fit into {max_characters:,} characters; crop shows parts whole"
    )
    fields: Any = reply.fields
    if isinstance(fields, messages.KeptPicture):
        fields = msgspec.structs.replace(fields, exact=False)
    elif isinstance(fields, messages.Answered):
        looks = zip(fields.looks, is_shrunk, strict=True)
        exact = [msgspec.structs.replace(look, exact=look.exact and not shrinks) for look, shrinks in looks]
        fields = msgspec.structs.replace(fields, looks=exact)
    return _reply(parts, fields)


def _largest_picture(sizes: Sequence[int], room: int) -> int:
    """The size to which larger pictures must shrink for all to fit into `room`; small ones leave room to the others."""
    share = room
    for number, size in enumerate(sorted(sizes)):
        share = room // (len(sizes) - number)
        if size > share:
            break
        room -= size
    return share


def _base64_length(file: Encoded) -> int:
    return 4 * math.ceil(len(file.data) / 3)


def in_base64(file: Encoded) -> str:
    return base64.b64encode(file.data).decode()
