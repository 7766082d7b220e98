"""What a check of files found, added up."""

import hashlib
from collections import Counter
from collections.abc import Iterable

import msgspec

from virc.data.check.verdict import Fault, Held, Verdict
from virc.data.rows.record import Id
from virc.reasoning.protocol import Coordinates

MOST_PROTOCOLS = 100
"""Distinct system messages that are told apart in one file."""


class Found(msgspec.Struct, frozen=True):
    """A fault and where it is; `row` is its number in the file, None where it is of the file as a whole."""

    file: str
    row: int | None
    id: Id | None
    kind: str
    message: str


class ChatProtocol(msgspec.Struct):
    """One system message: a hash of it ("" for none), how many rows have it, and which is the first."""

    sha256: str
    rows: int
    first: int


class Dataset(msgspec.Struct):
    """What one file holds.

    Args:
        held_out: its inputs must not be among those of the other files.
        coordinates: what its boxes were taken to mean, and why.
        chat_protocols: its system messages, the first `MOST_PROTOCOLS` of them.
        more_chat_protocols: rows with others.
    """

    name: str
    file: str
    format: str
    held_out: bool
    coordinates: Coordinates
    why: str
    rows: int = 0
    good: int = 0
    faults: dict[str, int] = {}
    held: Held = Held()
    chat_protocols: list[ChatProtocol] = []
    more_chat_protocols: int = 0

    def add(self, verdict: Verdict, faults: Iterable[Fault]) -> None:
        """Count a row with all its faults."""
        kinds = Counter(fault.kind for fault in faults)
        self.rows += 1
        self.good += not kinds
        self.held += verdict.held
        self.count(kinds)
        if verdict.system is not None:
            self._add_chat_protocol(verdict.system, verdict.number)

    def count(self, kinds: Counter[str]) -> None:
        """Count faults."""
        self.faults = dict(Counter(self.faults) + kinds)

    def _add_chat_protocol(self, system: str, row: int) -> None:
        key = system and hashlib.sha256(system.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        known = next((each for each in self.chat_protocols if each.sha256 == key), None)
        if known:
            known.rows += 1
        elif len(self.chat_protocols) < MOST_PROTOCOLS:
            self.chat_protocols.append(ChatProtocol(key, 1, row))
        else:
            self.more_chat_protocols += 1


class Report(msgspec.Struct):
    """All files, and the rows that were written to a new folder."""

    datasets: list[Dataset] = []
    kept: int = 0

    @property
    def rows(self) -> int:
        """Rows that were read."""
        return sum(each.rows for each in self.datasets)

    @property
    def good(self) -> int:
        """Rows without a fault."""
        return sum(each.good for each in self.datasets)

    @property
    def faults(self) -> dict[str, int]:
        """Faults by their kind, the most frequent first."""
        total: Counter[str] = Counter()
        for each in self.datasets:
            total.update(each.faults)
        return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))
