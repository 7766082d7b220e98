"""How a download reads in a terminal: the table before it, the question, and how far it is."""

import shlex
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from virc.core.errors import UsageError, VircError
from virc.core.files import MODELS
from virc.download import fetch as download
from virc.download.fetch import Item
from virc.download.hub.fetching import Doing
from virc.download.hub.repository import File, Told
from virc_cli.console import output, progress
from virc_cli.console.progress import duration, sized
from virc_cli.console.run_lines import table as columns

_HEAD = ("what", "size", "missing", "state", "folder", "from")
_EVERY = 0.2  # seconds between two lines
_OVER = 10.0  # seconds that the rate is a mean of
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "KB"))


def width(stream: TextIO) -> int | None:
    """Characters of a line there; None where it is no terminal."""
    return progress.room(stream) if stream.isatty() else None


def table(items: Sequence[Item], most: int | None) -> list[str]:
    """What is wanted and what of it is there, one line each, and what that takes.

    Args:
        most: characters of a line; where the lines are longer, where a thing comes from stands below it.
    """
    return [*folded([_HEAD, *map(_cells, items)], most), *_below(items)]


def folded(rows: Sequence[tuple[str, ...]], most: int | None) -> list[str]:
    """Rows as lines with columns below one another; where they are too long, the last column stands below its row.

    Args:
        rows: the first is the head.
        most: characters of a line; None: any.
    """
    lines = columns(rows)
    if most is None or max(map(len, lines)) <= most:
        return lines
    head, *shorter = columns([row[:-1] for row in rows])
    lines = [head]
    for line, row in zip(shorter, rows[1:], strict=True):
        lines += [line, f"  {rows[0][-1]} {row[-1]}"] if row[-1] != "-" else [line]
    return lines


def fields(items: Sequence[Item]) -> dict[str, object]:
    """What is wanted as `--json` prints it."""
    return {"items": [_fields(item) for item in items], "free": download.free(Path.cwd())}


def agree(items: Sequence[Item], yes: bool, bare: bool) -> None:
    """Ask whether to fetch; where nobody is there, what was named is fetched.

    Raises:
        UsageError: nobody is there, and nothing was named.
        VircError: it is not to be.
    """
    missing = sum(item.missing for item in items)
    if yes:
        return
    agreed = output.confirmed(f"fetch {sized(missing)}?" if missing else "unpack, and check what is there?")
    if agreed is None and bare:
        raise UsageError(f"nobody is here to be asked whether to fetch {sized(missing)}", "--yes fetches it")
    if agreed is False:
        raise VircError("nothing was fetched")


def fetch(items: Sequence[Item], keep: bool, stream: bool) -> None:
    """Fetch what is missing, show how far it is, and say at the end what came.

    Raises:
        KeyboardInterrupt: it was stopped; what came stays.
        VircError: as `download.fetch`.
    """
    missing, begun = sum(item.missing for item in items), time.monotonic()
    meter = Meter(missing)
    try:
        with meter.shown():
            chat_protocols = [download.fetch(item, meter, output.warn, keep, stream) for item in items]
    except KeyboardInterrupt:
        output.note(
            "what came is kept: the same command goes on" + " (archives of --stream begin anew)" * stream
        )
        raise
    for chat_protocol in filter(None, chat_protocols):
        output.note(f"written: {_here(chat_protocol)}, the chat protocol it was trained in")
    if missing:
        output.note(f"fetched and verified: {_came(missing, time.monotonic() - begun)}")


def is_askable(item: Item) -> bool:
    """Whether a model of a system came, all of it; the bases of its stages are for training."""
    return item.want.model is not None and item.want.name != "base" and not item.want.include


def called(item: Item) -> str:
    """The model as other commands take it, as a word of the shell."""
    in_models = item.folder.parent == Path(MODELS)
    short = item.want.known_as or (item.folder.name if in_models else None)
    return short or shlex.quote(str(item.folder.absolute()))


def _came(count: int, seconds: float) -> str:
    """`16.6 GB in 3 min, 92 MB/s`."""
    rate = f", {_per_second(count / seconds)}" if seconds >= 1 else ""
    return f"{sized(count)} in {duration(seconds)}{rate}"


class Meter:
    """How far a download is; a `Watch`.

    Args:
        missing: bytes to be fetched in all.
    """

    def __init__(self, missing: int) -> None:
        self._missing, self._come = missing, 0
        self._file, self._doing, self._done = "", "fetching", 0
        self._size, self._lock = 0, threading.Lock()
        self._past: deque[tuple[float, int]] = deque()

    def begin(self, doing: Doing, file: File) -> Told:
        """Another file, or another step with it."""
        if doing != self._doing:
            self._past.clear()
        self._file, self._doing, self._size, self._done = file.name, doing, file.size, 0
        return self._fetched if doing == "fetching" else self._worked

    def end(self, doing: Doing, file: File) -> None:
        """One line a file, where no line is rewritten."""
        if not sys.stderr.isatty():
            done = {"fetching": "fetched", "checking": "checked", "unpacking": "unpacked"}[doing]
            output.note(f"{done} {file.name}, {sized(file.size)}")

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Rewrite a line on the terminal while the block lasts, also when nothing comes."""
        ended = threading.Event()
        with progress.shown() as show:
            thread = threading.Thread(target=self._show, args=(show, ended), daemon=True)
            if sys.stderr.isatty():
                thread.start()
            try:
                yield
            finally:
                ended.set()
                if thread.ident:
                    thread.join()

    def _show(self, show: Callable[[str], None], ended: threading.Event) -> None:
        while not ended.wait(_EVERY):
            if self._file:
                show(self.line(time.monotonic()))

    def _fetched(self, count: int) -> None:
        with self._lock:  # several files may come at a time
            self._come += count

    def _worked(self, count: int) -> None:
        self._done += count

    def line(self, now: float) -> str:
        """The line, as it is now.

        Args:
            now: seconds of the clock that the rate is taken by.
        """
        fetching = self._doing == "fetching"
        done, size = (self._come, self._missing) if fetching else (self._done, self._size)
        rate = self._rate(now, done)
        parts = [part_of(done, size), _per_second(rate) if rate else "waiting"]
        if rate:
            parts.append(f"{duration((size - done) / rate)} left")
        name = self._file if fetching else f"{self._doing} {self._file}"
        return f"{_short(name, progress.room() - 45)}  {', '.join(parts)}"

    def _rate(self, now: float, done: int) -> float:
        """Bytes per second over the last seconds."""
        self._past.append((now, done))
        while len(self._past) > 2 and now - self._past[0][0] > _OVER:
            self._past.popleft()
        then, before = self._past[0]
        return max(0.0, (done - before) / (now - then)) if now > then else 0.0


def part_of(done: int, size: int) -> str:
    """`3.1 of 16.6 GB`: as wide however far it is, or the line would tremble."""
    unit, name = _unit(size)
    return f"{done / unit:.1f} of {size / unit:.1f} {name}"


def _unit(count: float) -> tuple[float, str]:
    return next((each for each in _UNITS if count >= each[0]), _UNITS[-1])


def _per_second(rate: float) -> str:
    """`112 MB/s`, `2.9 MB/s`."""
    unit, name = _unit(rate)
    return f"{rate / unit:.{0 if rate >= 10 * unit else 1}f} {name}/s"


def _short(name: str, most: int) -> str:
    """A name of at most so many characters: its end says more than its beginning."""
    return name if len(name) <= most else f"…{name[-max(most - 1, 8) :]}"


def _cells(item: Item) -> tuple[str, ...]:
    want = item.want
    return (
        want.name,
        sized(item.size) if item.size is not None else "-",
        sized(item.missing) if item.missing else "-",
        item.state,
        f"asked for by name: virc download {want.name}"
        if want.told and not item.here
        else _here(item.folder),
        want.repo.id if want.repo else "-",
    )


def _here(folder: Path) -> str:
    """A folder as seen from this one, where it lies in it."""
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)


def _below(items: Sequence[Item]) -> Iterator[str]:
    asked = [item for item in items if not item.want.told]
    missing = sum(item.missing for item in asked)
    free = f"{sized(download.free(Path.cwd()))} are free here"
    if all(item.state == "present" for item in asked):
        yield f"nothing is lacking; {free}"
    else:
        yield f"{sized(missing)} to fetch; {free}"


def _fields(item: Item) -> dict[str, object]:
    want = item.want
    return {
        "name": want.name,
        "kind": want.repo.kind if want.repo else "model",
        "repo": want.repo.id if want.repo else None,
        "revision": want.revision,
        "commit": item.commit,
        "folder": str(item.folder.absolute()),
        "bytes": item.size,
        "missing": item.missing,
        "state": item.state,
        "files": [
            {"name": part.file.name, "bytes": part.file.size, "missing": part.missing, "state": part.state}
            for part in item.parts
        ],
    }
