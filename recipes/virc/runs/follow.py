"""Follow a run: yield lines of its files as they are written, and estimate its remaining time."""

import math
import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from virc.runs.metrics import LONGEST_LINE, Metric, metrics
from virc.runs.run import Run

Mark = tuple[int, int, bool]


def lines(path: Path) -> Iterator[bytes | None]:
    """Yield the complete lines of a growing file, for ever; None while there is no new one.

    A file that was replaced or cut is read again from its beginning; one that was removed has no further lines.
    """
    file = _opened(path)
    line = b""
    try:
        while True:
            piece = file.readline(LONGEST_LINE - len(line)) if file else b""
            line += piece
            if line.endswith(b"\n") or len(line) == LONGEST_LINE:
                yield line
                line = b""
            elif not piece:
                try:
                    found = path.stat()  # while a file is open, no other one gets its inode
                    same = file and os.path.samestat(found, os.fstat(file.fileno())) and found.st_size >= file.tell()
                except OSError:
                    same = True
                new = None if same else _opened(path)
                if new is None:
                    yield None
                    continue
                if file:
                    file.close()
                file, line = new, b""
    finally:
        if file:
            file.close()


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except OSError:
        return None


def mark(metric: Metric) -> Mark:
    """A position that grows from line to line of a run's metrics; a resumed attempt rewrites the old lines first."""
    return metric.attempt, metric.step, metric.aside


def seconds_left(first: Metric, last: Metric) -> float | None:
    """Estimate an attempt's remaining seconds from its pace between two lines of metrics; None: unknown."""
    if first.seconds is None or last.seconds is None or last.total is None or last.step <= first.step:
        return None
    left = (last.seconds - first.seconds) / (last.step - first.step) * (last.total - last.step)
    return left if math.isfinite(left) and left >= 0 else None


def time_left(run: Run) -> float | None:
    newest: list[Metric] = []
    for _, of_attempt in groupby(metrics(run), lambda metric: metric.attempt):
        newest = list(of_attempt)
    return seconds_left(newest[0], newest[-1]) if newest else None
