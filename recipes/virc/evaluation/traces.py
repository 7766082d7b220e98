"""The traces of answers: which one an answer opens in, and the verdict on its page."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from virc.core.errors import VircError
from virc.core.files import contents, write_whole
from virc.core.text import clause
from virc.evaluation.answers import AnswerLine, EvalFolder
from virc.evaluation.figures import in_words
from virc.evaluation.summary import Result
from virc.solving.rows import file_name
from virc.solving.trace_page import with_verdict

_MOST_TRACE = 256 * 2**20  # bytes
_HEAD = 64 * 2**10  # bytes of a page; its pictures come after the verdict, so that these tell whether it changed


class _Traced(msgspec.Struct):
    answer: str | None = None


def trace_of(folder: EvalFolder, line: AnswerLine) -> str | None:
    """The folder in which an answer opens, relative to the evaluation's: of several samples, the first with it."""
    trace = folder.traces(line.model or "") / file_name(str(line.id))
    samples = [page.parent for page in sorted(trace.glob("sample-*/index.html"))]
    if samples:
        trace = next((each for each in samples if _traced_answer(each) == line.answer), samples[0])
    elif not (trace / "index.html").is_file():
        return None
    return trace.relative_to(folder.folder).as_posix()


def _traced_answer(trace: Path) -> str | None:
    try:
        return msgspec.json.decode(contents(trace / "trace.json", _MOST_TRACE), type=_Traced).answer
    except (OSError, ValueError, RecursionError):
        return None


def mark_traces(folder: EvalFolder, results: Sequence[Result], system: str = "") -> None:
    """Write the verdict and the reference on the page of each answer, and what the reward of a system gives it.

    A VircError where the disk refuses.
    """
    for result in results:
        for answered in result.answers.values():
            if answered.trace:
                reward = f"Reward of {system}: {in_words(answered.rewarded)}" if answered.rewarded else ""
                _mark(folder.folder / answered.trace / "index.html", answered.right, result.reference, reward)


def _mark(page: Path, right: bool | None, reference: str, reward: str) -> None:
    try:
        with page.open("rb") as file:
            head = file.read(_HEAD)
            if with_verdict(head, right, reference, reward) == head:
                return
            marked = with_verdict(head + file.read(), right, reference, reward)
        if marked is not None:
            write_whole(page, marked)
    except OSError as error:
        raise VircError(f"cannot write the verdict to {page}: {clause(error)}") from error
