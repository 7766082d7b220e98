"""Which rows of which files make a dataset: all of them, a subset, a mix, or a part set aside."""

import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import accumulate, repeat

import msgspec

from virc.core.errors import DataError
from virc.core.text import plain
from virc.data.convert.change import Change
from virc.data.convert.choose import Groups, score, shares, subset
from virc.data.formats import registry as formats
from virc.data.formats import rl
from virc.data.formats.registry import Row, Source
from virc.data.rows.record import Id, Picture, Record, inputs_of


class Part(msgspec.Struct, frozen=True):
    """A source within a dataset.

    Args:
        source: the file.
        change: what happens to its records.
        joined: rows of single units become trajectories first.
        skip_faulty: rows that cannot be read are left out, not an error.
    """

    source: Source
    change: Change
    joined: bool = False
    skip_faulty: bool = False

    def rows(self, count: Callable[[], None] = lambda: None) -> Iterator[Row]:
        """The rows in order; `count` is called for each that is read in the file."""

        def counted() -> Iterator[Row]:
            for row in formats.get(self.source.format).read(self.source):
                count()
                yield row

        return rl.merged(counted()) if self.joined else counted()

    def placed(self, fault: DataError) -> DataError:
        """What is wrong with a row, with the name of the file."""
        return DataError(f"{self.source.file}, {fault.message}", fault.hint)

    def records(self) -> Iterator[tuple[Record, Id]]:
        """The records in order, each with the key by which it is chosen.

        Raises:
            DataError: a row cannot be read, and is not to be left out.
        """
        for row in self.rows():
            if row.record:
                yield row.record, row.number if row.record.id is None else row.record.id
            elif row.fault and not self.skip_faulty:
                raise self.placed(row.fault)


class Dataset(msgspec.Struct, frozen=True):
    """Rows to write under one name.

    Args:
        name: of the dataset.
        parts: where they come from, in this order.
        marks: for each part 1 or 0 for each of its `records`; None: all.
        aside: whether the other rows of these parts are another dataset.
    """

    name: str
    parts: Sequence[Part]
    marks: Sequence[bytearray] | None = None
    aside: bool = False

    def marked_parts(self) -> Iterator[tuple[Part, bytearray | None]]:
        """Each part with its marks."""
        yield from zip(self.parts, self.marks or repeat(None), strict=False)


def taken(dataset: Dataset, seed: int, count: int) -> Dataset:
    """The dataset with exactly so many of its rows.

    Raises:
        DataError: it has fewer, or a row cannot be read.
    """
    scores = [_scores(part, seed) for part in dataset.parts]
    sizes = [len(each) for each in scores]
    _check_enough(dataset.name, sum(sizes), count)
    marks = subset([value for each in scores for value in each], count)
    ends = zip(accumulate(sizes), sizes, strict=True)
    return msgspec.structs.replace(dataset, marks=[marks[end - size : end] for end, size in ends])


def mixed(dataset: Dataset, seed: int, weights: Sequence[Fraction], count: int | None) -> Dataset:
    """The dataset with its parts in these weights; without a `count` as large as they allow.

    Raises:
        DataError: a part has too few rows, or one cannot be read.
    """
    scores = [_scores(part, seed) for part in dataset.parts]
    counts = shares(weights, [len(each) for each in scores], count)
    for part, values, wanted in zip(dataset.parts, scores, counts, strict=True):
        _check_enough(part.source.name, len(values), wanted)
    marks = [subset(values, wanted) for values, wanted in zip(scores, counts, strict=True)]
    return msgspec.structs.replace(dataset, marks=marks)


def apart(datasets: Sequence[Dataset], seed: int, name: str, share: float) -> list[Dataset]:
    """Each dataset as two, NAME_train and NAME_`name`; no input picture of any of them stands on both sides.

    Raises:
        DataError: nothing can be set aside, or a row cannot be read.
    """
    groups = Groups(seed)
    marks = [_grouped(groups, part, marks) for dataset in datasets for part, marks in dataset.marked_parts()]
    flags = groups.part(share)
    if not any(flags):
        sentence = f"{share:g} of {len(flags)} rows cannot be set aside"
        raise DataError(sentence, "there are too few, or too many of them show the same picture")
    flag, mark = iter(flags), iter(marks)
    found = []
    for dataset in datasets:
        chosen = [next(mark) for _ in dataset.parts]
        aside = [bytearray(next(flag) if one else 0 for one in each) for each in chosen]
        rest = [
            bytearray(one - other for one, other in zip(each, others, strict=True))
            for each, others in zip(chosen, aside, strict=True)
        ]
        found.append(Dataset(f"{dataset.name}_train", dataset.parts, rest))
        found.append(Dataset(f"{dataset.name}_{name}", dataset.parts, aside, aside=True))
    return found


def _scores(part: Part, seed: int) -> "array[int]":
    return array("Q", (score(seed, key) for _, key in part.records()))


def _check_enough(name: str, size: int, wanted: int) -> None:
    if wanted > size:
        raise DataError(f"{plain(name, 60)} has {size} rows, and {wanted} are to be taken of it")


def _grouped(groups: Groups, part: Part, marks: bytearray | None) -> bytearray:
    """Put the chosen rows of a part into the groups; returns the marks of all its rows."""
    found = bytearray()
    for at, (record, key) in enumerate(part.records()):
        found.append(1 if marks is None else marks[at])
        if found[-1]:
            pictures = (record.images[index] for index in inputs_of(record) if index < len(record.images))
            groups.add([_hash(picture, part) for picture in pictures] or [f"row {key}"])
    return found


def _hash(picture: Picture, part: Part) -> str:
    """What is equal where two pictures are: a hash of the bytes; of what cannot be read, its name."""
    try:
        return hashlib.blake2b(picture.read(), digest_size=16).hexdigest()
    except OSError:  # on the network, or not there: then writing the row says so
        return f"{part.source.media} {picture.name}"
