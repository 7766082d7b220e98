"""Carries out the tools of the MCP server; nothing here knows of the protocol."""

import asyncio
import base64
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
from virc.reasoning.opening.pictures import check, opened_all
from virc.reasoning.protocol import Coordinates
from virc.reasoning.resample import Rescaled, resampled
from virc.reasoning.resize import MAX_PIXELS
from virc.reasoning.trace import ImageRecord, Trace
from virc.scoring.answers import score
from virc.scoring.score import Key, Verdict
from virc.scoring.symbolic import Symbolic, formula
from virc.serving.agent.request_queue import LeftError
from virc.serving.mcp import messages
from virc.serving.mcp.asking import Model, OnStep
from virc.serving.mcp.pictures import IMAGE, Readable, file_of, given, in_reply, pixels_of, smaller
from virc.serving.mcp.result_store import ResultStore
from virc.solving.image_source import File, looked_at, losses
from virc.solving.outcome import chosen
from virc.solving.traces.page import in_words
from virc.tools import registry as tools
from virc.tools.scale import FACTORS

_AROUND = 100  # characters of JSON around a part
_LEAST = 2000  # characters of a picture
_MAX_COUNTED = 4 * 2**20  # bytes of a client's file whose frames are counted: half a second for each MiB of small ones
TRACE = "trace"
"""Names of kept traces begin so."""
_UNITS: Mapping[str, Coordinates] = {
    "pixel": "pixel", "permille": "permille", "thousand": "thousand", "fraction": "unit",
}  # fmt: skip

_TYPES: Mapping[str, str] = {"array": "a list", "str": "a text", "float": "a number", "int": "a whole number"}
"""How errors call the types of JSON."""
_Changed = tuple[Encoded, messages.Picture]
"""The picture that a tool gives, and the fields of its result."""


class Reply(msgspec.Struct, frozen=True):
    parts: Sequence[str | Encoded]
    fields: msgspec.Struct


class _Steps(msgspec.Struct, frozen=True):
    trace: Trace
    question: str
    files: Sequence[Encoded]


class ToolCalls:
    def __init__(self, model: Model, readable: Readable, store: ResultStore, most: int = messages.RESULT) -> None:
        self._model, self._readable, self._store, self._most = model, readable, store, most
        self._algebra: Symbolic | None = None
        self._starting = threading.Lock()

    async def call(self, name: str, arguments: Mapping[str, Any], session: str, on_step: OnStep) -> Reply:
        tool = messages.TOOLS.get(name)
        if tool is None:
            raise DataError(f"there is no tool {plain(name, 60)!r}; there are: {', '.join(messages.TOOLS)}")
        try:
            read = msgspec.convert(arguments, tool.takes)
        except (ValueError, RecursionError) as error:
            raise _misfit(name, arguments, tool.takes, error) from None
        match read:
            case messages.Ask():
                reply = await self._ask(read, session, on_step)
            case messages.Crop():
                reply = await self._changed(read, session, self._crop)
            case messages.Scale():
                reply = await self._changed(read, session, self._scale)
            case messages.Show():
                reply = await self._changed(read, session, self._show)
            case messages.Evaluate():
                reply = await asyncio.to_thread(self._evaluate, read)
            case _:
                assert isinstance(read, messages.TraceOf)
                reply = await asyncio.to_thread(self._trace, read, session)
        return await asyncio.to_thread(_within, reply, self._most)

    def close(self) -> None:
        self._model.close()
        if self._algebra:
            self._algebra.close()

    async def _changed(
        self, read: Any, session: str, change: Callable[[Any, OpenedImage, bytes, str], _Changed]
    ) -> Reply:
        source = await given(read.image, self._store, session, self._readable)
        left = threading.Event()

        def anybody() -> None:
            if left.is_set():
                raise LeftError("nobody waits for the picture")

        def work() -> Reply:
            data, name = file_of(source, self._readable)
            with opened_all([(data, name)], of_client(anybody), partial(_made_beside, read)) as pictures:
                file, fields = change(read, pictures[0], data, session)
                said = _lost([(data, name)], [source], pictures)
                return _reply([file, *said], msgspec.structs.replace(fields, warnings=said))

        try:
            return await asyncio.to_thread(work)
        finally:
            left.set()

    def _crop(self, read: messages.Crop, image: OpenedImage, _: bytes, session: str) -> _Changed:
        view = View([image.size], _UNITS[read.unit], float_boxes=True)
        arguments = {"bbox_2d": read.box, "image_index": 0}
        call, deviations = _checked("crop_image", arguments, view)
        pixels = _made(call, image.pixels)
        assert call.box
        picture, file = self._kept(pixels, as_png(pixels).data, session, read.max_side)
        clamped = "box_clamped" in deviations
        return file, messages.Cropped(**picture, box=list(call.box), clamped=clamped)

    def _scale(self, read: messages.Scale, image: OpenedImage, data: bytes, session: str) -> _Changed:
        if abs(read.factor - 1) < min(abs(read.factor - offered) for offered in FACTORS):
            picture, file = self._kept(image.pixels, data, session, read.max_side)
            return file, messages.Scaled(**picture, factor=1.0)
        call, _deviations = _checked("scale_image", {"scale_factor": read.factor, "image_index": 0}, View([image.size]))
        assert call.factor
        width, height = (int(side * call.factor) for side in image.size)
        if width * height > MAX_PIXELS:
            raise DataError(f"the picture would have {width} x {height} px, over {MAX_PIXELS // 10**6} million")
        pixels = _made(call, image.pixels)
        picture, file = self._kept(pixels, as_png(pixels).data, session, read.max_side)
        return file, messages.Scaled(**picture, factor=call.factor)

    def _show(self, read: messages.Show, image: OpenedImage, data: bytes, session: str) -> _Changed:
        picture, file = self._kept(image.pixels, data, session, read.max_side)
        return file, messages.Picture(**picture)

    def _kept(self, pixels: Image.Image, data: bytes, session: str, side: int) -> tuple[dict[str, Any], Encoded]:
        file, exact = in_reply(pixels, side)
        name = self._store.keep(session, IMAGE, data, len(data))
        return {"image_id": name, "width": pixels.width, "height": pixels.height, "exact": exact}, file

    async def _ask(self, read: messages.Ask, session: str, on_step: OnStep) -> Reply:
        named = [read.image, *read.more_images]
        check_problem([each[:1] for each in named], read.question)
        sources = [await given(each, self._store, session, self._readable) for each in named]

        def read_all() -> list[tuple[bytes, str]]:
            files = [file_of(source, self._readable) for source in sources]
            for file in files:  # before the model is loaded
                check(file, of_client())
            return files

        files = await asyncio.to_thread(read_all)
        model, solved, pictures = await self._model.ask(files, read.question, read.samples, on_step)
        if solved.error and not isinstance(solved.error, NoAnswerError):
            raise solved.error
        sample = chosen(solved)
        ids = [self._store.keep(session, IMAGE, data, len(data)) for data, _ in files]
        said = await asyncio.to_thread(_lost, files, sources, pictures)
        sizes = [each.original or each.size for each in pictures]
        looks, parts = await asyncio.to_thread(self._looks, sample.trace, sample.images, sizes, ids, session, read)
        steps = _Steps(sample.trace, read.question, [shown.file for shown in sample.images])
        kept = self._store.keep(session, TRACE, steps, sum(len(file.data) for file in steps.files))
        votes = next((count for answer, count in solved.votes if answer == solved.answer), 0)
        answered = messages.Answered(
            answer=solved.answer,
            reason=str(solved.error) if solved.error else None,
            model=model.name,
            turns=len(sample.trace.units),
            confidence=votes / read.samples if read.samples > 1 and solved.answer is not None else None,
            image_ids=ids,
            looks=looks,
            trace_id=kept,
            warnings=said,
        )
        answer = solved.answer if solved.answer is not None else f"no answer: {solved.error}"
        return _reply([answer, *said, *parts], answered)

    def _looks(
        self,
        trace: Trace,
        images: Sequence[Shown],
        sizes: Sequence[tuple[int, int]],
        ids: Sequence[str],
        session: str,
        read: messages.Ask,
    ) -> tuple[list[messages.Look], list[str | Encoded]]:
        names: dict[int, str] = dict(enumerate(ids))
        looks: list[messages.Look] = []
        parts: list[str | Encoded] = []
        for unit in trace.units:
            for result in unit.results:
                for index in result.images if result.call else ():
                    assert result.call
                    record, file = trace.images[index], images[index].file
                    picture, sent = self._kept(pixels_of(file), file.data, session, read.max_side)
                    names[index] = picture["image_id"]
                    source = None if record.parent is None else names.get(record.parent)
                    box = _in_pixels(record, trace, sizes)
                    looks.append(messages.Look(**picture, tool=result.call.name, source_id=source, box=box))
                    parts += [f"{in_words(result.call)}:", sent]
        return looks, parts

    def _evaluate(self, read: messages.Evaluate) -> Reply:
        key = Key(read.reference, tuple(read.choices), read.decimals, read.tolerance)
        found = score(read.answer, key, self._same)
        lacks = f"only algebra could tell, which the server lacks: {install('eval')}"
        words = formula(read.answer) is None or formula(read.reference) is None
        match found:
            case Verdict(right=True, by="symbolic"):
                verdict = messages.Verdict(verdict="right", by="algebra", reason="equal by algebra")
            case Verdict(right=True):
                verdict = messages.Verdict(verdict="right", by="rule", reason="the same text, number, unit or choice")
            case Verdict(by="rule"):
                verdict = messages.Verdict(verdict="wrong", by="rule", reason="another number, choice or refusal")
            case _ if words:
                reason = "the words differ, and no rule can tell whether they say the same"
                verdict = messages.Verdict(verdict="undecided", by=None, reason=reason)
            case _ if self._algebra is None:
                verdict = messages.Verdict(verdict="undecided", by=None, reason=lacks)
            case _:
                verdict = messages.Verdict(verdict="wrong", by="algebra", reason="not equal by algebra")
        return _reply([], verdict)

    def _same(self, answer: str, reference: str) -> bool:
        """Equality by algebra; False if math-verify is not installed."""
        with self._starting:
            if self._algebra is None:
                with suppress(SetupError):
                    self._algebra = Symbolic()
        return self._algebra.same(answer, reference) if self._algebra else False

    def _trace(self, read: messages.TraceOf, session: str) -> Reply:
        steps = self._store.find(session, read.trace_id)
        if not isinstance(steps, _Steps):
            raise DataError(f"this session has no trace {plain(read.trace_id, 60)}")
        parts: list[str | Encoded] = []
        shown: list[messages.Step] = []
        for number, unit in enumerate(steps.trace.units, 1):
            parts.append(f"{number}. {unit.think}".rstrip())
            calls = []
            for result in unit.results:
                words = in_words(result.call) if result.call else "a call that cannot be carried out"
                calls.append(": ".join(filter(None, (words, result.error or result.text))))
                parts.append(calls[-1])
                parts += [in_reply(pixels_of(steps.files[index]), read.max_side)[0] for index in result.images]
            if unit.answer is not None:
                parts.append(f"answer: {unit.answer}")
            shown.append(messages.Step(thought=unit.think, calls=calls, answer=unit.answer))
        failure = steps.trace.failure.message if steps.trace.failure else None
        return _reply(parts, messages.Traced(question=steps.question, steps=shown, failure=failure))


def _lost(files: Sequence[File], sources: Sequence[bytes | Path], pictures: Sequence[OpenedImage | Shown]) -> list[str]:
    """What of pictures is not shown, in the sentences of `virc solve`."""
    seen = [looked_at(*each, max_counted=_MAX_COUNTED) for each in zip(files, sources, pictures, strict=True)]
    return losses(seen, sources)


def _made_beside(read: Any, size: tuple[int, int]) -> int:
    """About as many bytes as what is made of a picture of that size takes, as pixels and as PNG."""
    if isinstance(read, messages.Show):
        return 0
    factor = min(FACTORS, key=lambda each: abs(each - read.factor)) if isinstance(read, messages.Scale) else 1
    pixels = int(size[0] * factor) * int(size[1] * factor)
    return 7 * pixels if pixels <= MAX_PIXELS else 0  # refused before it is made


def _checked(name: str, arguments: Mapping[str, object], view: View) -> tuple[Call, Sequence[str]]:
    try:
        checked = tools.get(name).check(arguments, view)
    except ToolError as error:
        reason = str(error).replace("bbox_2d", "box").replace("scale_factor", "factor")  # as arguments are called here
        raise DataError(reason) from None
    return checked.call, checked.deviations


def _misfit(name: str, arguments: Mapping[str, Any], takes: type[messages.Arguments], error: Exception) -> DataError:
    for fault in validation.faults(dict(arguments), takes, noun="argument"):
        if isinstance(fault, validation.Missing | validation.Unknown):
            return DataError(f"{name}: {fault.message}", fault.hint)
    what, _, path = str(error).partition(" - at `$.")
    path = path.rstrip("`")
    for word, plainly in _TYPES.items():
        what = what.replace(f"`{word}`", plainly)
    known = messages.schema(takes)["properties"].get(path.partition("[")[0], {})
    if not path:
        return DataError(f"{name}: {clause(error)}")
    hint = ", ".join(known["enum"]) if "enum" in known else known.get("description")
    return DataError(f"{name}: {path} is wrong: {what[:1].lower()}{what[1:]}", hint)


def _made(call: Call, source: Image.Image) -> Image.Image:
    made = tools.get(call.name).apply(call, source)
    assert isinstance(made, Rescaled)
    return resampled(made, made.size)


def _in_pixels(record: ImageRecord, trace: Trace, sizes: Sequence[tuple[int, int]]) -> list[int] | None:
    """The box of a crop in pixels of what it was cut from: of the file, if that is a picture of the question."""
    if record.box is None or record.parent is None:
        return None
    parent = trace.images[record.parent]
    width, height = sizes[record.parent] if record.parent < len(sizes) else (parent.width, parent.height)
    left, top, right, bottom = record.box
    across, down = width / parent.width, height / parent.height
    return [round(left * across), round(top * down), round(right * across), round(bottom * down)]


def _reply(parts: Sequence[str | Encoded], fields: msgspec.Struct) -> Reply:
    """The fields stand among the parts too, as JSON, for clients that show those alone."""
    return Reply([*parts, msgspec.json.encode(fields).decode()], fields)


def _within(reply: Reply, most: int) -> Reply:
    """A reply in at most `most` characters as it is sent: of its pictures the largest are shrunk."""
    files = [each for each in reply.parts if isinstance(each, Encoded)]
    texts = [msgspec.json.encode(each) for each in (*reply.parts, reply.fields) if not isinstance(each, Encoded)]
    room = share = most - sum(map(len, texts)) - _AROUND * (len(reply.parts) + 1)
    for number, size in enumerate(sorted(map(_characters, files))):
        share = room // (len(files) - number)
        if size > share:
            break
        room -= size
    shrunk = [_characters(each) > share for each in files]
    if room < 0 or (any(shrunk) and share < _LEAST):
        raise DataError(f"the result does not fit into {most:,} characters", "virc mcp --max-result N")
    if not any(shrunk):
        return reply
    small = iter(
        [smaller(file, share * 3 // 4 - 3) if less else file for file, less in zip(files, shrunk, strict=True)]
    )
    parts = [next(small) if isinstance(each, Encoded) else each for each in reply.parts[:-1]]
    pictures = counted(len(files), "picture")
    parts.append(f"{sum(shrunk)} of {pictures} shrunk to fit into {most:,} characters; crop shows parts whole")
    fields: Any = reply.fields
    if isinstance(fields, messages.Picture):
        fields = msgspec.structs.replace(fields, exact=False)
    elif isinstance(fields, messages.Answered):
        looks = zip(fields.looks, shrunk, strict=True)
        exact = [msgspec.structs.replace(look, exact=look.exact and not less) for look, less in looks]
        fields = msgspec.structs.replace(fields, looks=exact)
    return _reply(parts, fields)


def _characters(file: Encoded) -> int:
    return 4 * -(-len(file.data) // 3)


def in_base64(file: Encoded) -> str:
    return base64.b64encode(file.data).decode()
