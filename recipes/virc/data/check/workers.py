"""Rows checked by several processes, in order; a row that ends its process costs no other."""

from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice

from virc.core.parallel import LostWorkerError, in_order
from virc.data.check.result import Fault, RowResult, Rules
from virc.data.check.row import check_row
from virc.data.formats.registry import Row

_AT_ONCE = 8
"""Rows that a process gets together: enough to outweigh the transfer, few enough to stop soon."""


def check_rows(rows: Iterable[Row], rules: Rules, workers: int) -> Iterator[tuple[Row, RowResult]]:
    """Each row with its result, in order; with 1 worker they are checked in this process."""
    if workers == 1:
        yield from ((row, check_row(rules, row)) for row in rows)
        return
    under_way: deque[list[Row]] = deque()

    def chunks() -> Iterator[list[Row]]:
        left = iter(rows)
        while chunk := list(islice(left, _AT_ONCE)):
            under_way.append(chunk)
            yield chunk

    remaining = chunks()
    while True:
        try:
            for found in in_order(partial(_check, rules), remaining, workers):
                yield from zip(under_way.popleft(), found, strict=True)
            return
        except LostWorkerError:
            left = [row for chunk in under_way for row in chunk]
            under_way.clear()
            yield from zip(left, _one_by_one(left, rules), strict=True)


def _check(rules: Rules, rows: list[Row]) -> list[RowResult]:
    return [check_row(rules, row) for row in rows]


def _one_by_one(rows: list[Row], rules: Rules) -> Iterator[RowResult]:
    """Results of one process, so that it is known at which row it ends; the next process begins behind that."""
    while rows:
        done = 0
        try:
            for result in in_order(partial(check_row, rules), rows, 1, apart=True):
                done += 1
                yield result
        except LostWorkerError:
            row = rows[done]
            message = "checking it ends the process: an image that breaks the decoder, or the memory"
            yield RowResult(row.number, row.record.id if row.record else None, (Fault("crash", message),))
            done += 1
        rows = rows[done:]
