"""Which problems share their picture, or nearly, with rows that a model was trained on, by small copies of pictures."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

from virc.core.files import expanded, is_file
from virc.core.result_log import Id
from virc.core.text import counted
from virc.core.web import html
from virc.data.formats import batch
from virc.data.formats.registry import only_source
from virc.data.rows.fingerprint import Copies, fingerprint_of, words
from virc.data.rows.record import Record, inputs_of
from virc.evaluation.answered import Result
from virc.evaluation.columns import Column, Evaluated, Fields
from virc.evaluation.pages import figures
from virc.evaluation.request import EvalRequest
from virc.evaluation.summary import Score, Summary, score
from virc.runs import run as runs
from virc.solving.rows import ProblemRow


class SharedPicture(msgspec.Struct, frozen=True):
    """A problem whose picture is nearly that of a training row; `row` is its number, from 1."""

    id: Id
    row: int
    same_question: bool


class Contamination(msgspec.Struct, frozen=True):
    """Problems that training rows share; `without`: each model's score on the other problems."""

    against: str
    rows: int
    unread: int
    shared: Sequence[SharedPicture]
    without: Mapping[str, Score]


def compare(against: str, rows: Iterable[ProblemRow], base: Path, results: Sequence[Result]) -> Contamination:
    """What problems share with the rows of a run and of the runs before it, or with a file or folder of rows."""
    problems = [batch.record_of(row, base) for row in rows]
    own = Copies[Record]()
    for problem in problems:
        for each in _prints(problem):
            own.add(each, problem)
    count = unread = 0
    shared = dict[str, SharedPicture]()
    for source in map(only_source, files(against)):
        for row in source.rows():
            prints = _prints(row.record) if row.record else []
            count, unread = count + 1, unread + (not prints)
            for problem in (problem for each in prints for problem in own.of(each)):
                same = _words(problem) in _words(row.known())
                if same or str(problem.id) not in shared:
                    shared[str(problem.id)] = SharedPicture(problem.id or 0, row.number, same)
    models = dict.fromkeys(name for result in results for name in result.answers)
    clean = [result.answers for result in results if str(result.id) not in shared]
    without = {name: score(answers[name].right for answers in clean if name in answers) for name in models}
    return Contamination(against, count, unread, list(shared.values()), without)


def _prints(record: Record) -> list[Image.Image]:
    pictures = (msgspec.structs.replace(record.images[at], confined=False) for at in inputs_of(record))
    return [found for each in pictures if (found := fingerprint_of(each)) is not None]


def _words(record: Record) -> str:
    text = record.question or next((each.content for each in record.messages if each.role == "user"), "")
    return words(text)


def files(against: str) -> Iterator[Path]:
    """The files of rows that a run, and those that it starts from, were trained on; errors as of `compare`."""
    if expanded(against).exists() and not is_file(Path(against, "run.json")):
        yield expanded(against)
        return
    run: runs.Run | None = runs.find(Path.cwd(), Path(against).name)
    while run:
        info = runs.info(run)
        yield Path(info.data)
        start = Path(info.adapter or info.base)
        before = next((each for each in start.parents if is_file(each / "run.json")), run.folder)
        run = None if before == run.folder else runs.Run(before)


class Trained(Column):
    """What the rows that are named share with the problems; None if none are."""

    title = "Pictures of training"

    def __init__(self, against: str | None) -> None:
        self._against = against

    def of_evaluation(self, evaluated: Evaluated) -> Fields:
        if self._against is None:
            return {"contamination": None}
        found = compare(self._against, evaluated.rows(), evaluated.base, evaluated.arms[0])
        return {"contamination": found}

    def lines(self, summary: Summary) -> Iterator[str]:
        if found := summary.columns["contamination"]:
            yield from _lines(found)

    def section(self, summary: Summary, places: Mapping[Any, int]) -> str:
        found = summary.columns["contamination"]
        return html.part("virc_extras:studies/contamination", found=found, places=places) if found else ""


def column(given: str | None, request: EvalRequest) -> Column:
    if given:
        list(files(given))  # what cannot be read is refused at once
    return Trained(given)


def _lines(found: Contamination) -> Iterator[str]:
    same = sum(each.same_question for each in found.shared)
    unread = f", {found.unread} without a picture that can be read" if found.unread else ""
    yield f"{found.against}: {counted(found.rows, 'row')} of training{unread}"
    yield f"  problems with nearly a picture of theirs: {len(found.shared)}, {same} with the question too"
    for each in found.shared[:8]:
        yield f"  problem {each.id}: row {each.row}" + (", the question too" if each.same_question else "")
    for name, clean in found.without.items() if found.shared else ():
        yield f"  {name} without these: {figures.counted(clean)} (95 %: {figures.interval(clean)})"
