"""Which rows of which files make a dataset: all of them, a seeded subset, a mix, or a split; in a few bytes a row.

A row is chosen by a hash of the seed and its key (its id, else its number), not by its position. So the same seed
chooses the same rows of the same problems in another format, and a smaller subset is part of a larger one.
"""

import hashlib
import shlex
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import accumulate, repeat
from math import floor

import msgspec

from virc.core.errors import DataError, UnreadError
from virc.core.text import plain
from virc.data.convert.change import Change
from virc.data.formats import rl
from virc.data.formats.registry import RowsFile
from virc.data.rows.fingerprint import Copies, fingerprint_of
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.record import Id, Picture, Record, check_column, clips_of, group_of, inputs_of


class SubsetSource(msgspec.Struct, frozen=True):
    """A source within a dataset; `as_problems`: of rows of single units, one of each problem is taken."""

    source: RowsFile
    change: Change
    as_problems: bool = False
    skip_faulty: bool = False

    def rows(self, count: Callable[[], None] = lambda: None) -> Iterator[ParsedRow]:
        def counted() -> Iterator[ParsedRow]:
            for row in self.source.rows():
                count()
                yield row

        yield from rl.problems(counted()) if self.as_problems else counted()

    def located(self, fault: DataError, number: int | None = None) -> DataError:
        keeps = f"virc data check {shlex.quote(str(self.source.file))} --clean DIR keeps the rows before it"
        hint = fault.hint and fault.hint.replace("layout FILE", f"layout {shlex.quote(str(self.source.file))}")
        if number and not ends(fault):
            hint = "; ".join([*([hint] if hint else []), "«--skip-faulty» leaves such rows out"])
        elif number and number > 1:
            hint = keeps
        return DataError(f"{self.source.file}, {fault.message}", hint)

    def records(self) -> Iterator[tuple[Record, Id]]:
        """The records in order, each with the key it is chosen by. Raises DataError: a faulty row is not skipped."""
        for row in self.rows():
            if row.record:
                yield row.record, row.number if row.record.id is None else row.record.id
            elif row.fault and (not self.skip_faulty or ends(row.fault)):
                raise self.located(row.fault, row.number)

    def scores(self, seed: int) -> "array[int]":
        return array("Q", (score(seed, key) for _, key in self.records()))


def ends(fault: DataError) -> bool:
    """Whether nobody knows which rows are behind a fault, so that it cannot be left out like one row."""
    return isinstance(fault, UnreadError) and fault.rows is None


class Dataset(msgspec.Struct, frozen=True):
    """Rows to write under one name: `marks` has 1 or 0 for each record of each part; `aside`: it is held out."""

    name: str
    parts: Sequence[SubsetSource]
    marks: Sequence[bytearray] | None = None
    aside: bool = False

    def marked_parts(self) -> Iterator[tuple[SubsetSource, bytearray | None]]:
        yield from zip(self.parts, self.marks or repeat(None), strict=False)


def limited(dataset: Dataset, seed: int, count: int) -> Dataset:
    scores = [part.scores(seed) for part in dataset.parts]
    sizes = [len(each) for each in scores]
    _check_enough(dataset.name, sum(sizes), count)
    marks = subset([value for each in scores for value in each], count)
    ends = zip(accumulate(sizes), sizes, strict=True)
    return msgspec.structs.replace(dataset, marks=[marks[end - size : end] for end, size in ends])


def mixed(dataset: Dataset, seed: int, weights: Sequence[Fraction], count: int | None) -> Dataset:
    scores = [part.scores(seed) for part in dataset.parts]
    counts = shares(weights, [len(each) for each in scores], count)
    for part, values, needed in zip(dataset.parts, scores, counts, strict=True):
        _check_enough(part.source.name, len(values), needed)
    return msgspec.structs.replace(dataset, marks=list(map(subset, scores, counts)))


def split(
    datasets: Sequence[Dataset], seed: int, name: str, share: float, group_by: str | None = None
) -> list[Dataset]:
    """Each dataset as NAME_train and NAME_`name`, without an input image, or nearly one, that both have.

    Args:
        group_by: a column of which they share no value either.

    Raises:
        DataError: it cannot be done.
    """
    groups, parts = Groups(seed), [each for dataset in datasets for each in dataset.marked_parts()]
    chosen_of_parts = [_grouped(groups, part, marks, group_by) for part, marks in parts]
    set_aside = groups.part(share)  # 1 for each chosen row that is set aside, in the order of all parts
    if not any(set_aside):
        message = f"{share:g} of {len(set_aside)} rows cannot be set aside"
        raise DataError(message, "there are too few, or too many of them belong together")
    next_aside, next_part = iter(set_aside), iter(chosen_of_parts)
    found = []
    for dataset in datasets:
        chosen = [next(next_part) for _ in dataset.parts]
        aside = [bytearray(next(next_aside) if is_chosen else 0 for is_chosen in rows) for rows in chosen]
        rest = [bytearray(map(int.__sub__, *pair)) for pair in zip(chosen, aside, strict=True)]
        found.append(Dataset(f"{dataset.name}_train", dataset.parts, rest))
        found.append(Dataset(f"{dataset.name}_{name}", dataset.parts, aside, aside=True))
    return found


def score(seed: int, key: Id) -> int:
    text = f"{seed} {key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def subset(scores: Sequence[int], count: int) -> bytearray:
    chosen = bytearray(len(scores))
    for row in sorted(range(len(scores)), key=scores.__getitem__)[:count]:
        chosen[row] = 1
    return chosen


def shares(weights: Sequence[Fraction], sizes: Sequence[int], total: int | None = None) -> list[int]:
    """How many rows of each source make a mix of these weights.

    Args:
        total: rows of the mix; None: as many as the sources have for it.

    Returns:
        Numbers that sum up to `total`, each within one row of its exact share (largest remainders first). They may
        be over `sizes` where a `total` is given.
    """
    whole = sum(weights)
    if total is None:
        total = floor(whole * min(Fraction(size) / weight for size, weight in zip(sizes, weights, strict=True)))
    exact = [total * weight / whole for weight in weights]
    counts = [floor(share) for share in exact]
    by_rest = sorted(range(len(exact)), key=lambda source: counts[source] - exact[source])
    for source in by_rest[: total - sum(counts)]:
        counts[source] += 1
    return counts


class Groups:
    """Rows that have a key in common, directly or through other rows; a split keeps them together.

    About 120 bytes for each key, 4 KB for each picture and 8 bytes for each row.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._node: dict[int, int] = {}  # score of a key -> its node
        self._parent = array("q")  # of a node; its own where it is the root of its group
        self._rows = array("q")  # a node of each row
        self._copies = Copies[Id]()

    def add(self, keys: Iterable[Id], pictures: Mapping[Id, Picture] = {}) -> None:
        """Add a row; the keys of its pictures, and of those that are nearly copies of them, are keys of it, too."""
        keys, nodes = [*keys, *pictures], []
        for key, picture in pictures.items():
            if score(self._seed, key) not in self._node and (own := fingerprint_of(picture)):
                keys += self._copies.of(own)
                self._copies.add(own, key)
        for value in (score(self._seed, key) for key in keys):
            if value not in self._node:
                self._node[value] = len(self._parent)
                self._parent.append(len(self._parent))
            nodes.append(self._root(self._node[value]))
        root = min(nodes)
        for node in nodes:
            self._parent[node] = root
        self._rows.append(root)

    def part(self, share: float) -> bytearray:
        """1 for each row of a part with that share of the rows, or the closest below it that whole groups allow."""
        sizes = Counter(self._root(node) for node in self._rows)
        least: dict[int, int] = {}
        for value, node in self._node.items():
            root = self._root(node)
            least[root] = min(value, least.get(root, value))
        room = round(share * len(self._rows))
        taken = set()
        for root in sorted(least, key=least.__getitem__):
            if sizes[root] <= room:
                taken.add(root)
                room -= sizes[root]
        return bytearray(self._root(node) in taken for node in self._rows)

    def _root(self, node: int) -> int:
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node


def _check_enough(name: str, size: int, needed: int) -> None:
    if needed > size:
        raise DataError(f"{plain(name, 60)} has {size} rows, and {needed} are to be taken from it")


def _grouped(groups: Groups, part: SubsetSource, marks: bytearray | None, group_by: str | None) -> bytearray:
    found, columns = bytearray(), set[str]()
    for at, (record, key) in enumerate(part.records()):
        columns |= record.extra.keys()
        found.append(1 if marks is None else marks[at])
        if found[-1]:
            pictures = [record.images[index] for index in inputs_of(record) if index < len(record.images)]
            group = group_of(record, group_by)
            keys = [f"group {group}"] if group is not None else [] if pictures else [f"row {key}"]
            keys += [f"clip {each}" for each in clips_of(record)]
            groups.add(keys, dict(_keyed(picture, part) for picture in pictures))
    check_column(group_by, part.source.file, columns)
    return found


def _keyed(picture: Picture, part: SubsetSource) -> tuple[str, Picture]:
    """A key of a picture's content, and the picture with its content, which is read once."""
    try:
        content = picture.read()
    except OSError:  # on the network, or not there: writing the row reports it
        return picture.name if picture.on_network else f"{part.source.media} {picture.name}", picture
    return hashlib.blake2b(content, digest_size=16).hexdigest(), msgspec.structs.replace(picture, data=content)
