"""The traces of answers: which one an answer opens in, and the verdict on its page."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from virc.core.errors import VircError, errors_as
from virc.core.files import json_or_none, write_whole
from virc.evaluation.answered import Result
from virc.evaluation.answers import AnswerLine, EvalFolder
from virc.reasoning.trace import ImageRecord, Message, Rejected
from virc.solving.rows import file_name
from virc.solving.traces.page import with_verdict

_MAX_TRACE = 256 * 2**20  # bytes
_HEAD = 64 * 2**10  # bytes of a page; its pictures come after the verdict, so that these tell whether it changed


class Traced(msgspec.Struct):
    answer: str | None = None
    images: list[ImageRecord] = []
    messages: list[Message] = []
    pending: list[Rejected] = []


def trace_of(folder: EvalFolder, line: AnswerLine, file: str = "index.html") -> str | None:
    """The folder of an answer's trace with that file, relative to the evaluation's; of samples, the first with it."""
    trace = folder.traces(line.model or "") / file_name(str(line.id))
    samples = [page.parent for page in sorted(trace.glob(f"sample-*/{file}"))]
    if samples:
        trace = next((each for each in samples if _traced_answer(each) == line.answer), samples[0])
    elif not (trace / file).is_file():
        return None
    return trace.relative_to(folder.folder).as_posix()


def read_trace(trace: Path) -> Traced | None:
    return json_or_none(trace / "trace.json", Traced, _MAX_TRACE)


def _traced_answer(trace: Path) -> str | None:
    found = read_trace(trace)
    return found.answer if found else None


def keep_crops(trace: Path) -> None:
    """Delete all of an answer's trace but its record and its crops; of a trace without crops, that too."""
    for folder in [trace, *trace.glob("sample-*")]:
        found = read_trace(folder)
        crops = {image.file for image in found.images if image.parent is not None} if found else set()
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.is_file() and not (crops and path.name in {"trace.json", *crops}):
                path.unlink(missing_ok=True)
    for folder in [*trace.glob("sample-*"), trace]:
        with suppress(OSError):  # it has crops, or never was
            folder.rmdir()


def mark_traces(folder: EvalFolder, results: Sequence[Result]) -> None:
    """Write verdict and reference on the page of each answer. A VircError if the disk refuses."""
    for result in results:
        for answered in result.answers.values():
            if answered.trace:
                _mark(folder.folder / answered.trace / "index.html", answered.right, result.reference)


def _mark(page: Path, right: bool | None, reference: str) -> None:
    with errors_as(VircError, f"cannot write the verdict to {page}"):
        with page.open("rb") as file:
            head = file.read(_HEAD)
            if with_verdict(head, right, reference) == head:
                return
            marked = with_verdict(head + file.read(), right, reference)
        if marked is not None:
            write_whole(page, marked)
