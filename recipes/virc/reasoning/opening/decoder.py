"""Decodes pictures of others in one process of its own, whose memory and time are limited for each of them.

The memory that a picture takes is computed before from its header (`pricing`). The limits here hold where the rest of
the file takes more. `Decoder` is the side of this process; `main` runs in the other one, and `_exchange` and `main`
show what goes through the pipe between them.
"""

import atexit
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec
from PIL import ExifTags, Image

from virc.core.errors import DataError, ErrorFields, VircError, error_of, sent_fields
from virc.core.limits.bounded import OUT_OF_CPU_TIME, BoundedProcess, EndedError
from virc.core.limits.bounded_worker import limit_cpu_time
from virc.core.limits.image_memory import trim
from virc.reasoning.calls import Box, Size
from virc.reasoning.encoded import Encoded, as_jpeg, as_png, without_metadata
from virc.reasoning.images import OpenedImage, Rendering, decoding, open_file, undecoded, upright_rgb
from virc.reasoning.opening.pricing import RGB, Price, price
from virc.reasoning.resample import Rescaled, StandIn, resampled
from virc.reasoning.resize import MAX_SCAN

SECONDS = 30.0
"""Longest time for one picture."""
_HEADER_CPU_SECONDS, _PIXELS_CPU_SECONDS = 1.0, 10.0  # a header takes milliseconds; other pictures wait meanwhile
_OVERHEAD = 64 * 2**20  # bytes of address space for all that is no pixel
_KEPT = 2**26  # bytes for a picture that stay with the process: to take memory anew costs as much as to decode
_MAX_DECODED = 2**27  # bytes of decoded pictures that stay for the parts that are cut out of them
_ROWS = 256  # that are handed over at once


class Fit(msgspec.Struct, frozen=True):
    """At which size the pixels of a picture are wanted; sizes are (width, height) in px."""

    size: Size  # of the picture as it is stored in its file
    wanted: tuple[Size, Size]  # if it is upright as stored, and if EXIF turns it by 90 degrees
    key: int  # what the decoder keeps the pixels under, if its file is sent as it is
    divisor: int = 1  # a JPEG is decoded at 1/`divisor` of its size first


class Part(msgspec.Struct, frozen=True):
    """What is cut out of the picture with that key; box and sizes as of `Rescaled` and `resampled`."""

    key: int
    box: Box | None
    wanted: Size
    size: Size
    is_jpeg: bool


class _Task(msgspec.Struct):
    """A request to the decoder, on one line; the bytes of the file follow it."""

    name: str
    length: int  # bytes of the file
    has_file: bool = False  # none follow: the file is that of the task before
    most: int | None = None  # bytes of memory that the pixels may take; None: only the price is asked for
    fit: Fit | None = None  # None: the pixels are wanted at their size
    part: Part | None = None
    dropped: list[int] = []  # keys of pictures that nobody needs any more
    seconds: float = 0  # of CPU time


class _Answer(msgspec.Struct):
    """The decoder's answer, on one line: an error, a price, a picture, whose pixels follow, row by row, unless they are
    kept; or the length in bytes of the file of a part, which follows.
    """

    error: ErrorFields | None = None
    price: Price | None = None
    size: Size | None = None
    original: Size = (0, 0)
    is_jpeg: bool = False
    rendering: Rendering = Rendering()
    is_sendable: bool = False  # its file without metadata
    is_kept: bool = False
    length: int = 0


def decoded(data: bytes, name: str, fit: Fit | None = None) -> tuple[OpenedImage, Size]:
    """A picture as `open_file` gives it, or at another size; and its (width, height) in px in the file, upright."""
    if fit is None:
        opened = open_file(data, name, MAX_SCAN)
        return opened, opened.size
    if fit.divisor == 1:
        opened = open_file(data, name, MAX_SCAN)
        turned = opened.size != fit.size
    else:
        opened, turned = reduced(data, name, fit.size, fit.divisor)
    as_stored, as_turned = fit.wanted
    pixels = resampled(opened.pixels, as_turned if turned else as_stored)
    original = fit.size[::-1] if turned else fit.size
    if pixels is opened.pixels:
        return msgspec.structs.replace(opened, data=None), original
    return OpenedImage(pixels, opened.is_jpeg, rendering=opened.rendering), original


def reduced(data: bytes, name: str, size: Size, divisor: int) -> tuple[OpenedImage, bool]:
    """A JPEG decoded at a part of its size, which takes less memory; and whether EXIF turns it by 90 degrees."""
    with decoding(name), undecoded(data) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation) in range(5, 9)
        image.draft(None, (size[0] // divisor, size[1] // divisor))
        return upright_rgb(image, name), turned


class Decoder(BoundedProcess):
    """The process, which knows no key of the user's."""

    def __init__(self) -> None:
        env = {name: os.environ[name] for name in ("SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
        env |= {"PYTHONPATH": str(Path(__file__).parents[3]), "MALLOC_ARENA_MAX": "1"}
        super().__init__([sys.executable, "-P", "-m", __name__], env)
        self._priced: tuple[object, bytes] | None = None
        """The process that was asked last, and the file, which it still has."""
        self.dropped: list[int] = []

    def price(self, data: bytes, name: str, check: Callable[[], None]) -> Price | None:
        return self._ask(data, _Task(name, len(data)), check)[0].price

    def decoded(
        self, data: bytes, name: str, most: int, fit: Fit | None, check: Callable[[], None]
    ) -> tuple[OpenedImage, Size]:
        answer, pixels = self._ask(data, _Task(name, len(data), most=most, fit=fit), check)
        assert isinstance(pixels, Image.Image)
        sendable = without_metadata(data, pixels.size) if answer.is_sendable else None
        opened = OpenedImage(pixels, answer.is_jpeg, sendable, None if fit else data, answer.rendering)
        return opened, answer.original

    def part(self, data: bytes, name: str, most: int, part: Part, check: Callable[[], None]) -> Encoded:
        """A part of a picture, as a file."""
        file = self._ask(data, _Task(name, len(data), most=most, part=part), check)[1]
        assert isinstance(file, bytes)
        return Encoded("jpeg" if part.is_jpeg else "png", file)

    def _ask(self, data: bytes, task: _Task, check: Callable[[], None]) -> tuple[_Answer, Image.Image | bytes | None]:
        """The process's answer to a task, and the pixels, or the file of a part; `check` as of `Terms`."""
        task.name = task.name.encode("utf-8", "replace").decode()  # half a character, as JSON of a client may hold it
        task.seconds = _PIXELS_CPU_SECONDS if task.most else _HEADER_CPU_SECONDS
        try:
            with self.turn(SECONDS, check) as (tasks, answers):
                process, file = self._priced or (None, b"")
                task.has_file = process is self.process and file is data
                self._priced = (self.process, data) if task.most is None else None
                task.dropped = [self.dropped.pop() for _ in range(len(self.dropped))]
                answer, pixels = _exchange(tasks, answers, task, data)
        except EndedError as ended:
            reason = f"takes over {SECONDS:g} s" if ended.late else "ends the decoder"
            if ended.code == OUT_OF_CPU_TIME:
                reason = f"takes over {task.seconds:g} s"
            raise DataError(f"{task.name} cannot be decoded: it {reason}") from None
        if answer.error:
            raise error_of(answer.error)
        return answer, pixels


def _exchange(
    tasks: IO[bytes], answers: IO[bytes], task: _Task, data: bytes
) -> tuple[_Answer, Image.Image | bytes | None]:
    tasks.write(msgspec.json.encode(task) + b"\n")
    if not task.has_file:
        tasks.write(data)
    tasks.flush()
    answer = msgspec.json.decode(answers.readline(), type=_Answer)
    if not answer.size:
        return answer, _read_exactly(answers, answer.length)
    if answer.is_kept:
        return answer, StandIn(answer.size)
    width, height = answer.size
    pixels = Image.new("RGB", answer.size)
    for top in range(0, height, _ROWS):
        rows = min(_ROWS, height - top)
        pixels.paste(Image.frombytes("RGB", (width, rows), _read_exactly(answers, 3 * width * rows)), (0, top))
    return answer, pixels


def _read_exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _limit_memory(size: int) -> None:
    """Let this process have `size` bytes more memory than now."""
    if sys.platform != "linux":
        return
    import resource

    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + size + _OVERHEAD, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _received(pipe: io.BufferedReader, size: int) -> bytes:
    """The next bytes of the input, read into one buffer: many small ones would fragment the memory."""
    buffer = bytearray(size)
    pipe.readinto(buffer)
    return bytes(buffer)


def _answered(task: _Task, data: bytes, kept: dict[int, Image.Image]) -> tuple[_Answer, Iterable[bytes]]:
    """The answer, and what follows it."""
    _limit_memory(task.most or 0)
    limit_cpu_time(task.seconds)
    try:
        if task.most is None:
            return _Answer(price=price(data, task.name)), ()
        if part := task.part:
            source = kept.get(part.key) or open_file(data, task.name).pixels
            pixels = resampled(Rescaled(source, part.wanted, part.box), part.size)
            file = (as_jpeg(pixels) if part.is_jpeg else as_png(pixels)).data
            return _Answer(length=len(file)), (file,)
        opened, original = decoded(data, task.name, task.fit)
    except VircError as error:
        if isinstance(error.__context__, MemoryError):
            error = DataError(f"{task.name} takes more memory to decode than its size in the header does")
        return _Answer(sent_fields(error)), ()
    except MemoryError:
        return _Answer(sent_fields(DataError(f"{task.name} takes more memory than a picture may"))), ()
    is_kept = task.fit is not None and opened.sendable is not None
    if task.fit and is_kept:
        kept[task.fit.key] = opened.pixels
    answer = _Answer(
        size=opened.size,
        original=original,
        is_jpeg=opened.is_jpeg,
        rendering=opened.rendering,
        is_sendable=opened.sendable is not None,
        is_kept=is_kept,
    )
    return answer, () if is_kept else _rows(opened.pixels)


def _rows(pixels: Image.Image) -> Iterator[bytes]:
    for top in range(0, pixels.height, _ROWS):
        yield pixels.crop((0, top, pixels.width, min(top + _ROWS, pixels.height))).tobytes()


def main() -> None:
    """Answer tasks on stdin until it ends. What a decoder prints must not come between the answers on stdout."""
    Image.init()
    with suppress(ImportError):
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # each thread has memory of its own
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    tasks = os.fdopen(0, "rb")
    file, kept = b"", dict[int, Image.Image]()
    while line := tasks.readline():
        task = msgspec.json.decode(line, type=_Task)
        for key in task.dropped:
            kept.pop(key, None)
        if not task.has_file:
            file = b""
            _limit_memory(2 * task.length)
            file = _received(tasks, task.length)
        answer, pieces = _answered(task, file, kept)
        limit_cpu_time(0)
        out.write(msgspec.json.encode(answer) + b"\n")
        out.writelines(pieces)
        out.flush()
        if task.most is not None:
            file = b""
        del pieces
        while RGB * sum(each.width * each.height for each in kept.values()) > _MAX_DECODED:
            del kept[next(iter(kept))]
        if (task.most or 0) > _KEPT:
            trim()


DECODER = Decoder()
"""That of this process."""
atexit.register(DECODER.close)

if __name__ == "__main__":
    main()
