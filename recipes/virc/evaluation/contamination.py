"""Which problems share their picture, or nearly, with rows that a model was trained on, by small copies of pictures."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from PIL import Image

from virc.core.errors import VircError
from virc.core.files import expanded, is_file
from virc.data.formats import batch
from virc.data.formats.registry import get, only_source
from virc.data.rows.fingerprint import are_copies, fingerprint, words
from virc.data.rows.record import Picture, Record, inputs_of
from virc.evaluation.answered import Result
from virc.evaluation.summary import Contamination, SharedPicture, score
from virc.reasoning.opening.pictures import opened_all
from virc.runs import run as runs
from virc.solving.rows import Row


def compare(against: str, rows: Iterable[Row], base: Path, results: Sequence[Result]) -> Contamination:
    """What problems share with the rows of a run and of the runs before it, or with a file or folder of rows."""
    problems = [batch.record_of(row, base) for row in rows]
    own = [(problem, print_) for problem in problems for print_ in _prints(problem)]
    count = unread = 0
    shared = dict[str, SharedPicture]()
    for source in map(only_source, files(against)):
        for row in get(source.format).read(source):
            prints = _prints(row.record) if row.record else []
            count, unread = count + 1, unread + (not prints)
            for problem, theirs in own if row.record else ():
                if any(are_copies(print_, theirs) for print_ in prints):
                    same = _words(problem) in _words(row.record)
                    if same or str(problem.id) not in shared:
                        shared[str(problem.id)] = SharedPicture(problem.id or 0, row.number, same)
    models = dict.fromkeys(name for result in results for name in result.answers)
    clean = [result.answers for result in results if str(result.id) not in shared]
    without = {name: score(answers[name].right for answers in clean if name in answers) for name in models}
    return Contamination(against, count, unread, list(shared.values()), without)


def _prints(record: Record) -> list[Image.Image]:
    return [found for at in inputs_of(record) if (found := _print(record.images[at])) is not None]


def _print(picture: Picture) -> Image.Image | None:
    picture = msgspec.structs.replace(picture, confined=False)
    with suppress(VircError, OSError), opened_all([(picture.read(), picture.name or "an image")]) as opened:
        return fingerprint(opened[0].pixels)
    return None


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
