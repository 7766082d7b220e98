"""Rows of benchmarks as they are on the hub: which files a split has, and what a problem takes from each row."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import DataError
from virc.core.text import clause
from virc.evaluation.benchmarks.letters import LETTERS
from virc.evaluation.benchmarks.registry import Fields, Placed, Right, data_url, inside, problems
from virc.solving.rows import ProblemRow
from virc.systems.layouts.layout import Layout

Make = Callable[[Mapping[str, Any], Fields], Fields]
"""Fields of a problem that complete or replace those that the layout reads; called with the row and those fields."""


class HubBenchmark(msgspec.Struct, frozen=True):
    """A benchmark whose rows are on the hub; as `Benchmark`.

    Args:
        HUB: id of its dataset on the hub.
        files: of each split, patterns of the names of its files, from the folder on; those of the first that has any
            are read. The split "" is of a benchmark that has no splits.
        columns: which is what, by the fields of a layout; the question is one column.
        right: the published rule of scoring, if there is one.
        origin: address of the files of the split, if its dataset on the hub has only the pictures.
    """

    NAME: str
    ABOUT: str
    HUB: str
    files: Mapping[str, Sequence[str]]
    columns: Mapping[str, Any]
    make: Make
    right: Right | None = None
    origin: str | None = None

    @property
    def SPLITS(self) -> tuple[str, ...]:  # noqa: N802, as in modules
        return tuple(filter(None, self.files))

    def rows(self, folder: Path, split: str | None) -> Iterator[ProblemRow]:
        patterns = self.files[split or ""]
        files = next((found for pattern in patterns if (found := sorted(folder.glob(pattern)))), None)
        if files is None:
            wanted, download = " and no ".join(patterns), f"virc download eval {self.NAME} --to {folder}"
            raise DataError(f"{folder} holds no {wanted}", f"get it from {self.origin}" if self.origin else download)
        numbers = count(1)
        layout = msgspec.convert({"about": self.ABOUT, **self.columns}, Layout)
        return problems(_placed(files), lambda row: self._problem(row, next(numbers), layout, folder))

    def _problem(self, row: Fields, number: int, layout: Layout, folder: Path) -> Fields:
        from virc.data.rows.laid_out import record_of
        from virc.data.rows.record import MARK

        column = self.columns["question"]
        # the numbers of pictures in a question are not looked at: MathVision has all of them in one
        record = record_of(row | {column: "?"}, layout, folder, None)
        if not record.images:
            raise DataError("it has no image")
        fields: Fields = {
            "id": number if record.id is None else record.id,
            "images": [
                inside(folder, each.name) if each.data is None else data_url(each.data) for each in record.images
            ],
            "question": str(row.get(column) or "").replace(f"{MARK}\n", "").replace(MARK, ""),
            "answer": record.answer,
        }
        fields |= {key: record.extra[key] for key in ("choices", "answers", "metric") if record.extra.get(key)}
        try:
            return fields | self.make(row, fields)
        except (KeyError, AttributeError, TypeError) as error:  # a column is missing, or has values of another kind
            raise DataError(f"its columns are not those of {self.NAME}: {clause(error)}") from error


def choice(answer: str, choices: Sequence[str]) -> Fields:
    """The choices, the letter of the right one as the field `label`, and what that stands for as the answer."""
    label = answer.strip("() .").upper()
    at = LETTERS.find(label) if len(label) == 1 else -1
    if not 0 <= at < len(choices):
        raise DataError(f"its answer {label[:20]!r} is none of its {len(choices)} choices")
    return {"choices": list(choices), "label": label, "answer": choices[at]}


def lettered(choices: Sequence[str]) -> str:
    return "".join(f"{letter}. {each}\n" for letter, each in zip(LETTERS, choices, strict=False))


def _placed(files: Sequence[Path]) -> Iterator[Placed]:
    from virc.data.rows import raw

    for file in files:
        for number, fields in raw.rows(file):
            yield f"{file.name}, row {number}", fields
