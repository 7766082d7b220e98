"""The frames of a clip by the time at which they are shown, read by PyAV. Runs in the process of `worker` alone.

A frame is shown from its time to that of the next one. Nothing that a header says is believed: the length is that up to
the last frame, a time is found by seeking and decoding, and where a seek lands too late it is repeated from earlier.
FFmpeg gets a file object and the format that the content has, never a name: some formats name further files to open.
"""

import io
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from typing import IO, Any, cast

import av
from av.stream import Disposition
from PIL import Image

from virc.core.errors import DataError
from virc.reasoning.images import undecoded
from virc_extras.video.decoding.joints import Part, joint_in, may_have_joint
from virc_extras.video.decoding.shown import Appearance, decoder
from virc_extras.video.kinds import HEAD, clip_format
from virc_extras.video.limits import MAX_PIXELS, MAX_SECONDS
from virc_extras.video.sampling import clock_up

_BACK = (0, 1, 5, 30)  # seconds before a time from which it is decoded, the first that does; then from the start
_MAX_ROUNDING = Fraction(1, 2000)  # of a second, or half a tick: files round times to their clock
_MICROSECOND = Fraction(1, 10**6)  # less than what any clip tells apart, and more than a float is off
_TURNS: dict[tuple[int, ...], Image.Transpose] = {
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}
"""How pixels are shown, by the signs of a display matrix: x is ax + cy, and y is bx + dy."""
_GOES_BACK = "has a clock that goes back before its start: what is behind that is not shown"
_MATRIX = "DISPLAYMATRIX"  # the kind of side data
_NO_PROTOCOL = "none"  # is the name of no protocol: FFmpeg opens nothing further
_TAGS = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
"""Tags may be in any encoding: PyAV raises at others than UTF-8 before version 19, which has no such argument."""


class Clip:
    """A clip whose best video stream is read; another recording behind it in its file goes on where it ends.

    Attributes:
        length: seconds from the first frame up to the end of the last.
        last: the time at which the last frame begins to be shown, in seconds.
        size: (width, height) in px of the first frame, upright.
        notes: as of `Facts`.
        rounding: seconds that are added to a time before the frame is looked for that is shown then.
    """

    length: float
    last: float
    _start: int = -(2**63)
    _rest: "Clip | None"

    def __init__(self, file: IO[bytes], head: bytes, name: str) -> None:
        self._name, self._format, size = name, clip_format(head), file.seek(0, io.SEEK_END)
        joint: int | None = None
        self._open(file)
        if may_have_joint(self._format, head, size):
            with suppress(av.FFmpegError):
                joint = joint_in(self._container, file, size)
            self._open(cast(IO[bytes], Part(file, 0, joint or size)))
        videos = [each for each in self._container.streams.video if not each.disposition & Disposition.attached_pic]
        if not videos and (self._container.streams.audio or self._container.streams.video):
            raise DataError(f"{name} has no video: it is sound alone")
        if not videos or not videos[0].codec_context:
            raise self._damaged("no video that can be decoded")
        best = self._container.streams.best("video")  # of those flagged as default, then by frames and rates of bits
        self._stream = best if best in videos else videos[0]
        others = [f"{number} ({_size_of(each)})" for number, each in enumerate(videos, 1) if each != self._stream]
        shown = (
            f"has {len(videos)} video tracks, and number {videos.index(self._stream) + 1} ({_size_of(self._stream)})"
        )
        self._said = [f"{shown} is shown, not {', '.join(others)}"] if others else []
        self._decoder = decoder(self._stream)
        self._tick = Fraction(self._stream.time_base or Fraction(1, av.time_base))
        self.rounding = min(self._tick / 2, _MAX_ROUNDING) + _MICROSECOND
        self._decoded: Iterator[Any] = iter(())
        self._current: Any = None  # the frame decoded last, and the one after it
        self._next: Any = None
        self._furthest_back = 0  # ticks that a seek landed before its time: what a seek saves is less
        self._check_header()
        first = self._first()
        self._start = first.pts
        self._check_size(first.width, first.height)
        self._turn, self._appearance = _turn_of(first), Appearance(self._stream)
        self.size = self._upright(first).size
        self._check_size(*self.size)
        self._find_end()
        self._end, self._rest = self.length, None  # of this recording, and what is behind it
        if joint:
            self._go_on(cast(IO[bytes], Part(file, joint, size)))

    def frame_at(self, seconds: float) -> tuple[float, Image.Image]:
        """The frame that is shown at a time: when it begins to be shown, in seconds, and its pixels, upright.

        Before the first one it is the first, after the last one the last.
        """
        if self._rest and seconds + self.rounding >= self._end:
            begin, image = self._rest.frame_at(seconds - self._end)
            return self._end + begin, image
        frame = self._find(self._start + self._ticks(Fraction(seconds) + self.rounding))
        self._check_size(frame.width, frame.height)
        shown_from: int = frame.pts
        if frame.interlaced_frame:
            before = self._find(shown_from - 1)
            frame = self._appearance.whole(self._find(shown_from), before, self._next)
        return self._seconds(shown_from), self._upright(frame)

    def all(self) -> Iterator[tuple[float, Image.Image]]:
        """Every frame from the first to the last: the time at which it begins to be shown, and its pixels, upright."""
        self._seek(None)
        before, frame = None, self._next_frame()
        while frame is not None:
            after = self._next_frame()
            whole = self._appearance.whole(frame, before, after) if frame.interlaced_frame else frame
            yield self._seconds(frame.pts), self._upright(whole)
            before, frame = frame, after
        if self._rest:
            yield from ((self._end + begin, image) for begin, image in self._rest.all())

    @property
    def notes(self) -> tuple[str, ...]:
        """What is shown otherwise than the frames have it that were read, as of `Facts`."""
        rest = self._rest.notes if self._rest else ()
        return tuple(dict.fromkeys([*self._said, *self._appearance.notes, *rest]))

    def times(self) -> list[float]:
        """The times in seconds at which all frames begin to be shown, by their numbers from 0; reads no pixels."""
        self._seek(None)
        is_avi = self._format == "avi"
        packets = (each for each in self._container.demux(self._stream) if not each.is_discard)
        stamps = sorted({each.dts if is_avi else each.pts for each in packets} - {None})
        shown = stamps[bisect_left(stamps, self._start) :]
        if is_avi:  # as `_frames` has it: the last ones come out behind all packets
            shown += range(shown[-1] + 1, shown[-1] + 1 + len(stamps) - len(shown))
        rest = self._rest.times() if self._rest else []
        return [*map(self._seconds, shown), *(self._end + each for each in rest)]

    def _open(self, file: IO[bytes]) -> None:
        file.seek(0)
        if self._format == "webp":  # of which PyAV reads no more than the first frame
            file, self._format = _as_apng(file), "apng"
        options = {"protocol_whitelist": _NO_PROTOCOL, "enable_drefs": "0"}
        try:
            self._container: Any = cast(Any, av).open(file, format=self._format, container_options=options, **_TAGS)
        except av.FFmpegError as error:
            raise self._damaged(error.strerror) from None

    def _go_on(self, file: IO[bytes]) -> None:
        try:
            self._rest = Clip(file, file.read(HEAD), self._name)
            self.length, self.last = self._end + self._rest.length, self._end + self._rest.last
        except DataError as error:
            self._said += [f"begins again at {clock_up(self._end)}, which is not shown: {error.message}"]

    def _check_header(self) -> None:
        context = self._stream.codec_context
        self._check_size(context.width, context.height)
        for duration, tick in (
            (self._container.duration, Fraction(1, av.time_base)),
            (self._stream.duration, self._tick),
        ):
            if duration and duration * tick > MAX_SECONDS:
                raise DataError(f"{self._name} lasts {clock_up(float(duration * tick))}, over {MAX_SECONDS // 3600} h")

    def _check_size(self, width: int, height: int) -> None:
        if width * height > MAX_PIXELS:
            raise DataError(
                f"the frames of {self._name} have {width} x {height} px, over {MAX_PIXELS // 10**6} million"
            )

    def _first(self) -> Any:
        self._decoded = self._frames()
        try:
            frame = self._next_frame()
        except av.FFmpegError as error:
            raise self._damaged(error.strerror) from None
        if frame is None:
            raise DataError(f"{self._name} has no frame that can be decoded")
        return frame

    def _frames(self) -> Iterator[Any]:
        """Decode from here on; a frame that is damaged is left out, as players do.

        AVI has times of packets alone, in the order of decoding: its frames are shown one after the other at those.
        """
        before: int | None = None
        for packet in self._container.demux(self._stream):
            try:
                frames = self._decoder.decode(packet)
            except av.InvalidDataError:
                continue
            for frame in frames:
                if self._format == "avi":
                    before = frame.dts if frame.dts is not None or before is None else before + 1
                    frame.pts = frame.pts if before is None else before
                yield frame

    def _find_end(self) -> None:
        """Find the last frame: the header's length may be missing, too long, or that of the sound."""
        header = Fraction(max(0, self._container.duration or 0), av.time_base)
        frame = self._find(self._start + self._ticks(header) if header else self._last_packet(), to_end=True)
        self.last = self._seconds(frame.pts)
        shown = frame.duration * self._tick if frame.duration else 1 / Fraction(self._stream.average_rate or 25)
        self.length = self.last + float(shown)
        if self.length > MAX_SECONDS:
            raise DataError(f"{self._name} lasts {clock_up(self.length)}, over {MAX_SECONDS // 3600} h")

    def _last_packet(self) -> int:
        self._seek(self._start)
        packets = self._container.demux(self._stream)
        return max((packet.pts for packet in packets if packet.pts is not None), default=self._start)

    def _find(self, time: int, to_end: bool = False) -> Any:
        """The last frame that begins at or before a time of the stream's clock, in ticks; the first one if none does.

        Args:
            to_end: the last frame of all is wanted, and the time is where it is looked for.
        """
        try:
            if not to_end and self._current is not None and self._current.pts <= time:
                ahead = time - self._next.pts if self._next is not None else 0
                if ahead <= self._furthest_back and (found := self._decode_to(time, to_end)) is not None:
                    return found
            for back in _BACK:
                from_time = time - self._ticks(Fraction(back))
                if from_time < self._start:
                    break
                self._seek(from_time)
                if (found := self._decode_to(time, to_end)) is not None:
                    return found
            self._seek(None)
            found = self._decode_to(time, to_end)
        except av.FFmpegError as error:
            raise self._damaged(error.strerror) from None
        return self._current if found is None else found

    def _decode_to(self, time: int, to_end: bool) -> Any:
        """Decode on up to a time; None: all frames from here on are later."""
        if self._current is None:
            self._current = self._next_frame()
            if self._current is None:
                return None
            self._next = self._next_frame()
            self._furthest_back = max(self._furthest_back, time - self._current.pts)
        while self._next is not None and (to_end or self._next.pts <= time):
            self._current, self._next = self._next, self._next_frame()
        return self._current if to_end or self._current.pts <= time else None

    def _next_frame(self) -> Any:
        for frame in self._decoded:
            if frame.pts is not None and frame.pts >= self._start:
                return frame
            if self._current is not None and _GOES_BACK not in self._said:
                self._said.append(_GOES_BACK)
        return None

    def _seek(self, time: int | None) -> None:
        """Have frames decoded from the last key frame before a time on; None: from the start."""
        self._current = self._next = None
        try:
            self._container.seek(
                self._start - 2**40 if time is None else time, stream=self._stream, backward=True, any_frame=False
            )
        except av.FFmpegError:  # a container without an index, or a time before its first key frame
            self._container.seek(0, backward=True)
        if self._decoder is not self._stream.codec_context:  # which the seek has forget what it was given
            self._decoder.flush_buffers()
        self._decoded = self._frames()

    def _ticks(self, seconds: Fraction) -> int:
        return int(seconds / self._tick)

    def _seconds(self, pts: int) -> float:
        return float((pts - self._start) * self._tick)

    def _upright(self, frame: Any) -> Image.Image:
        image = self._appearance.picture(frame)
        return image if self._turn is None else image.transpose(self._turn)

    def _damaged(self, reason: str | None) -> DataError:
        return DataError(f"{self._name} is damaged, cut short, or of a codec that is not known: {reason}")


def _as_apng(file: IO[bytes]) -> IO[bytes]:
    made, milliseconds = io.BytesIO(), list[int]()
    with undecoded(file.read()) as image:
        for number in range(getattr(image, "n_frames", 1)):  # a duration is known once its frame is decoded
            image.seek(number)
            image.load()
            milliseconds.append(image.info["duration"] or 100)
        image.save(made, "PNG", save_all=True, duration=milliseconds, compress_level=1)
    made.seek(0)
    return made


def _size_of(stream: Any) -> str:
    return f"{stream.width} x {stream.height} px"


def _turn_of(frame: Any) -> Image.Transpose | None:
    """How a clip is turned; asked of one frame, as PyAV keeps each whose side data was read until a collection."""
    matrix = frame.side_data.get(_MATRIX)
    return matrix and _TURNS.get(_signs(memoryview(matrix).cast("i")))


def _signs(matrix: Sequence[int]) -> tuple[int, ...]:
    return tuple((value > 0) - (value < 0) for value in (matrix[0], matrix[1], matrix[3], matrix[4]))
