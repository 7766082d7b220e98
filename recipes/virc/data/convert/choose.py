"""Which rows of a dataset: seeded subsets, splits and mixes, in a few bytes a row.

A row is chosen by a hash of the seed and its key (its id, else its number), not by its place. So the same seed chooses
the same rows of the same problems in another format, and a smaller subset lies within a larger one.
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import floor

from virc.data.rows.record import Id


def score(seed: int, key: Id) -> int:
    """A number of 64 bits; the rows with the smallest are chosen first."""
    text = f"{seed} {key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def subset(scores: Sequence[int], count: int) -> bytearray:
    """1 for each of the `count` rows with the smallest scores, of equal ones the earlier; 0 for the others."""
    chosen = bytearray(len(scores))
    for row in sorted(range(len(scores)), key=scores.__getitem__)[:count]:
        chosen[row] = 1
    return chosen


def shares(weights: Sequence[Fraction], sizes: Sequence[int], total: int | None = None) -> list[int]:
    """How many rows of each source make a mix of these weights.

    Args:
        weights: positive, one for each source.
        sizes: rows each source has.
        total: rows of the mix; None: as many as the sources have for it.

    Returns:
        Numbers that sum up to `total`, each within one row of its exact share (largest remainders first). They may
        be over `sizes` where a `total` is given.
    """
    whole = sum(weights)
    if total is None:
        total = floor(
            whole * min(Fraction(size) / weight for size, weight in zip(sizes, weights, strict=True))
        )
    exact = [total * weight / whole for weight in weights]
    counts = [floor(share) for share in exact]
    by_rest = sorted(range(len(exact)), key=lambda source: counts[source] - exact[source])
    for source in by_rest[: total - sum(counts)]:
        counts[source] += 1
    return counts


class Groups:
    """Rows that have a key in common, directly or through other rows; a split keeps them together.

    About 120 bytes for each key and 8 for each row.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._node: dict[int, int] = {}  # score of a key -> its node
        self._parent = array("q")  # of a node; its own where it is the root of its group
        self._rows = array("q")  # a node of each row

    def add(self, keys: Iterable[Id]) -> None:
        """Add one row by its keys (at least one), such as the hashes of the pictures it shows."""
        nodes = [self._root(self._at(score(self._seed, key))) for key in keys]
        root = min(nodes)
        for node in nodes:
            self._parent[node] = root
        self._rows.append(root)

    def part(self, share: float) -> bytearray:
        """1 for each row of a part with that share of the rows, or as close below it as whole groups come."""
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

    def _at(self, value: int) -> int:
        if value not in self._node:
            self._node[value] = len(self._parent)
            self._parent.append(len(self._parent))
        return self._node[value]

    def _root(self, node: int) -> int:
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node
