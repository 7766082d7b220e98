"""Reads clips and documents in processes of their own, which bound the memory for a file and the time for a picture.

`Reader` is the side of this process; `main` runs in the others, which open the file and give no name to FFmpeg or
PDFium. A task is one line, with the bytes of the file behind it where it is none on the disk; the answer is one line
with the facts, two for each picture, one of them before it is read, and an empty one or one with an error.
"""

import atexit
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import process_time
from typing import IO, Any

import msgspec

from virc.core.errors import DataError, ErrorFields, VircError, error_of, sent_fields
from virc.core.limits.bounded import OUT_OF_CPU_TIME, BoundedProcess, EndedError, TooSlowError
from virc.core.limits.bounded_worker import limit_cpu_time
from virc.core.limits.image_memory import trim
from virc.core.text import clause, counted
from virc.core.work.parallel import cores
from virc_extras.video import limits
from virc_extras.video.kinds import HEAD
from virc_extras.video.limits import MAX_PICTURES, MAX_PIXELS, MEMORY, fitting
from virc_extras.video.turns import Turns

_HOURS = 3600.0  # longest wait, where a process without a limit of CPU time waits for a disk
_QUALITY = 95


class Wish(msgspec.Struct, frozen=True):
    """Which pictures of a file are wanted; of a clip by time, of a document by page. None: the usual ones.

    Args:
        span: with `frames`, the seconds between which these lie.
        times: no pictures, but the times of all frames of a clip.
    """

    at: tuple[float, ...] | None = None
    span: tuple[float, float] | None = None
    fps: float | None = None
    frames: int | None = None
    pages: tuple[int, ...] | None = None
    times: bool = False


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a file is: of a clip the length in seconds and the (width, height) in px, of a document its pages.

    Args:
        times: in seconds at which the frames begin to be shown, by their numbers from 0, where they were asked for.
        rounding: what is added to a time before the frame is looked for that is shown then, in seconds.
        notes: what is shown otherwise than the file has it, or not at all: sentences behind its name.
    """

    length: float = 0
    size: tuple[int, int] = (0, 0)
    pages: int = 0
    times: tuple[float, ...] = ()
    rounding: float = 0
    notes: tuple[str, ...] = ()


class Picture(msgspec.Struct, frozen=True):
    """A frame or page, and the bytes of its own file, a JPEG or PNG."""

    length: int  # of the file, in bytes
    seconds: float | None = None
    page: int | None = None
    data: bytes = b""


_Part = Facts | Picture | str  # the text names the picture that is read next


class _Task(msgspec.Struct):
    kind: str  # `clip` or `document`
    name: str
    wish: Wish
    path: str | None = None  # None: the bytes follow
    length: int = 0
    seconds: float = limits.CPU_SECONDS  # of CPU time to open it, and for each picture
    most: float = limits.ALL_PICTURES * limits.CPU_SECONDS  # for all


class _Answer(msgspec.Struct):
    error: ErrorFields | None = None
    facts: Facts | None = None
    picture: Picture | None = None
    slow: str | None = None  # what is to be said if the next picture takes more CPU time than `seconds`
    seconds: float = 0


class _Process(BoundedProcess):
    """One process, which knows no key of the user's."""

    def __init__(self) -> None:
        env = {name: os.environ[name] for name in ("SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
        env |= {"PYTHONPATH": str(Path(__file__).parents[2]), "MALLOC_ARENA_MAX": "1"}
        super().__init__([sys.executable, "-P", "-m", __name__], env)


class Reader:
    """The processes."""

    def __init__(self) -> None:
        self.turns = Turns(_Process, max(2, min(cores(), limits.MAX_READERS)))

    def pictures(
        self, kind: str, source: bytes | Path, name: str, wish: Wish, check: Callable[[], None]
    ) -> tuple[Facts, list[Picture]]:
        """The pictures of a file.

        Args:
            source: its bytes, or where it lies.
            check: called meanwhile; raises where nobody waits for the answer any more.

        Raises:
            DataError: it is damaged, over a limit, or takes too long or too much memory.
            ConfigError: the setting of the longest time is none.
        """
        path, content = (str(source.absolute()), b"") if isinstance(source, Path) else (None, source)
        name, seconds = name.encode("utf-8", "replace").decode(), limits.cpu_seconds()
        task = _Task(kind, name, wish, path, len(content), seconds, limits.ALL_PICTURES * seconds)
        slow = [f"{name} takes over {seconds:g} s"]
        try:
            with self.turns.turn(check) as process, process.turn(_HOURS, check) as (tasks, answers):
                tasks.write(msgspec.json.encode(task) + b"\n")
                tasks.write(content)
                tasks.flush()
                facts, pictures, error = _received(answers, slow.append)
        except EndedError as ended:
            if ended.late or ended.code == OUT_OF_CPU_TIME:
                hint = f"leave it out, or export {limits.SETTING}={2 * seconds:g}"
                raise TooSlowError(f"{slow[-1]} of CPU time to read", hint) from None
            raise DataError(f"{name} cannot be decoded: it ends the decoder") from None
        if error:
            raise error_of(error)
        return facts, pictures


def _received(answers: IO[bytes], on_next: Callable[[str], None]) -> tuple[Facts, list[Picture], ErrorFields | None]:
    facts, pictures = Facts(), list[Picture]()
    while True:
        answer = msgspec.json.decode(answers.readline(), type=_Answer)
        if answer.picture:
            data = answers.read(answer.picture.length)
            if len(data) < answer.picture.length:
                raise EOFError
            pictures.append(msgspec.structs.replace(answer.picture, data=data))
        elif answer.facts:
            facts = answer.facts
        elif answer.slow:
            on_next(answer.slow)
        else:
            return facts, pictures, answer.error


def _clip(file: IO[bytes], task: _Task) -> Iterator[_Part]:
    from virc_extras.video import sampling
    from virc_extras.video.decoding.frames import Clip

    head = file.read(HEAD)
    file.seek(0)
    clip, wish = Clip(file, head, task.name), task.wish
    if wish.times:
        yield Facts(clip.length, clip.size, times=tuple(clip.times()), rounding=float(clip.rounding))
        return
    if wish.at is not None:
        times = [*wish.at]
        if late := next((each for each in times if each > clip.length + 1e-6), None):
            said = f"{task.name} lasts {sampling.clock_up(clip.length)}: it has nothing at {sampling.clock(late)}"
            raise DataError(said, "name a time inside of it: «--at 0:00»")
    elif wish.fps is not None and wish.frames is None:
        times = sampling.times_at_rate(clip.length, wish.fps)
    elif wish.frames is not None and wish.span is not None:
        times = sampling.times_within(wish.span, clip.last, wish.frames)
    elif wish.frames is not None:
        times = sampling.sampled_times(clip.last, wish.frames)
    else:
        times = sampling.usual_times(clip.length, clip.last)
    if len(times) > MAX_PICTURES:
        lasts = f"{task.name} lasts {sampling.clock_up(clip.length)}"
        raise DataError(f"{lasts}: that is {len(times):,} frames, over {MAX_PICTURES}", f"«--frames {MAX_PICTURES}»")
    yield Facts(clip.length, clip.size)
    most, before = MAX_PIXELS // len(times), None
    for time in times:
        yield f"the frame at {sampling.clock(time)}"
        begin, pixels = clip.frame_at(time)
        if begin == before and wish.at is None:  # still, as in a recording of a screen: it is shown once
            continue
        before, data = begin, _encoded(fitting(pixels, most), "JPEG")
        yield Picture(len(data), seconds=time, data=data)
    yield Facts(clip.length, clip.size, notes=clip.notes)


def _document(file: IO[bytes], task: _Task) -> Iterator[_Part]:
    from virc_extras.video.decoding.pages import Document
    from virc_extras.video.sampling import MOST

    document = Document(file, task.name)
    pages = task.wish.pages or range(1, min(document.count, MOST) + 1)
    if beyond := next((each for each in pages if each > document.count), None):
        has = f"{task.name} has {counted(document.count, 'page')}"
        raise DataError(f"{has}, and no page {beyond}", f"«--page {document.count}»")
    if len(pages) > MAX_PICTURES:
        raise DataError(
            f"{len(pages)} pages of {task.name} are asked for, over {MAX_PICTURES}", "name fewer: «--page 1-9»"
        )
    for number in pages:
        yield f"page {number}"
        drawn = document.page(number, MAX_PIXELS // len(pages))
        data = min((_encoded(drawn, kind) for kind in ("PNG", "JPEG")), key=len)  # a text, or a scan
        yield Picture(len(data), page=number, data=data)
    yield Facts(pages=document.count, notes=tuple(document.notes()))


def _encoded(image: Any, kind: str) -> bytes:
    file = io.BytesIO()
    options: dict[str, Any] = {"quality": _QUALITY, "subsampling": 0} if kind == "JPEG" else {"compress_level": 1}
    image.save(file, kind, **options)
    return file.getvalue()


_KINDS: dict[str, Callable[[IO[bytes], _Task], Iterator[_Part]]] = {"clip": _clip, "document": _document}


def _limit_memory(size: int) -> None:
    """Let this process have `size` bytes more memory than now, and nest calls as deeply as the system allows."""
    if sys.platform != "linux":
        return
    import resource

    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + size, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_STACK, (resource.getrlimit(resource.RLIMIT_STACK)[1],) * 2)


def _answers(task: _Task, content: bytes) -> Iterator[tuple[_Answer, bytes]]:
    """The lines of an answer, each with the bytes behind it."""
    error: VircError | None = None
    end = process_time() + task.most
    try:
        with open(task.path, "rb") if task.path else io.BytesIO(content) as file:  # noqa: PTH123
            for part in _KINDS[task.kind](file, task):
                if isinstance(part, str):
                    if (left := end - process_time()) > task.seconds:
                        slow = f"{part} of {task.name} takes over {task.seconds:g} s"
                    else:
                        slow = f"{task.name} up to {part} takes over {task.most:g} s"
                    yield _Answer(slow=slow, seconds=max(0.001, min(left, task.seconds))), b""
                elif isinstance(part, Facts):
                    yield _Answer(facts=part), b""
                else:
                    yield _Answer(picture=msgspec.structs.replace(part, data=b"")), part.data
    except VircError as refused:
        error = refused
    except MemoryError:
        error = DataError(f"{task.name} takes more memory than a {task.kind} may")
    except OSError as unreadable:
        error = DataError(f"{task.name} cannot be read: {clause(unreadable)}")
    yield _Answer(sent_fields(error) if error else None), b""


def _import(kind: str) -> None:
    """Import what reads that kind before the memory is limited, and without what it would take from the environment."""
    with suppress(ImportError):
        if kind == "clip":
            import av.logging

            import virc_extras.video.decoding.frames

            av.logging.set_level(None)  # what FFmpeg says of a file is no message of ours
        else:
            import virc_extras.video.decoding.pages  # noqa: F401


def main() -> None:
    """Answer tasks on stdin until it ends. What a decoder prints must not come between the answers on stdout."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    tasks = os.fdopen(0, "rb")
    while line := tasks.readline():
        task = msgspec.json.decode(line, type=_Task)
        _import(task.kind)
        _limit_memory(MEMORY + 2 * task.length)
        content = tasks.read(task.length)
        limit_cpu_time(task.seconds)
        for answer, data in _answers(task, content):
            out.write(msgspec.json.encode(answer) + b"\n" + data)
            if answer.slow:
                out.flush()
                limit_cpu_time(answer.seconds)
        limit_cpu_time(0)
        out.flush()
        del content
        trim()


READER = Reader()
"""That of this process."""
atexit.register(READER.turns.close)

if __name__ == "__main__":
    main()
