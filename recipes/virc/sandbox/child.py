"""One process of the sandbox, from outside: started, given code, and ended. Nothing that it sends is trusted."""

import json
import os
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from virc.core.errors import SetupError
from virc.core.text import clause
from virc.sandbox import isolator, seccomp
from virc.sandbox.calls import Answer, Answering, Asked, Side
from virc.sandbox.isolator import Machine

_START = 60.0  # seconds until it is ready, on a machine that is busy
_LOOK = 0.05  # seconds between two looks at what it uses
_MOST_THREADS, _MOST_FILES = 64, 5_000
_MOST_JSON = 2**22  # bytes of the first frame of a reply
_PIECE = 2**16  # bytes that are written at once
_BEYOND = 8  # calls after the last one that is answered, before the process is ended


class DiedError(Exception):
    """The process has ended, or was ended; why, as a sentence for the model."""


class Image(msgspec.Struct, frozen=True):
    """An image that the code is given: a file in its folder, and the variables that hold it and its path; "": none."""

    file: str
    name: str = ""
    path_name: str = ""


class Request(msgspec.Struct, frozen=True):
    """A piece of code to run.

    Args:
        code: Python.
        images: that the code has not been given before.
        files: which image files it gives back: those that it wrote, those whose paths it printed, or none.
        most_images, most_pixels, most_characters: that it gives back, of pixels for each image.
        id: that the reply repeats.
        variables, functions, most_calls: as in `Around`.
        most_call_images: of one call of a function, whose images have at most `most_pixels` together.
    """

    code: str
    images: tuple[Image, ...]
    files: str
    most_images: int
    most_pixels: int
    most_characters: int
    id: int = 0
    variables: Mapping[str, str] = {}
    functions: Mapping[str, tuple[str, ...]] = {}
    most_calls: int = 0
    most_call_images: int = 16


class Reply(msgspec.Struct, frozen=True, tag_field="kind", tag="reply"):
    """What a process says a piece of code came to; `images` are their (width, height) in pixels."""

    id: int
    stdout: str
    stderr: str
    notes: tuple[str, ...]
    fault: bool
    images: tuple[tuple[Side, Side], ...]


class Child:
    """A process of the sandbox. It ends with this process, whatever ends that.

    Args:
        machine: what it gets.

    Attributes:
        pid: id of the process that was started.

    Raises:
        SetupError: it cannot be started.
    """

    def __init__(self, machine: Machine) -> None:
        self._folder: Path | None = None
        self._inside: int | None = None
        self._requests = 0
        self._lock = threading.Lock()
        self._popen, self._info = self._started(machine)
        self.pid = self._popen.pid
        assert self._popen.stdin
        assert self._popen.stdout
        self._in, self._out = self._popen.stdin.fileno(), self._popen.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._is_ready = False

    def _started(self, machine: Machine) -> tuple["subprocess.Popen[bytes]", int | None]:
        """The process, and where bubblewrap says which process is inside."""
        pipe = subprocess.PIPE
        if isolator.unsafe():
            self._folder = Path(tempfile.mkdtemp(prefix="virc-python-"))
            argv, env = isolator.unsafe_command(machine, self._folder), isolator.unsafe_environment(self._folder)
            return subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, env=env, start_new_session=True), None
        rules = os.memfd_create("seccomp")
        os.write(rules, seccomp.program())
        os.lseek(rules, 0, os.SEEK_SET)
        info, written = os.pipe()
        argv = isolator.command(machine, rules, written)
        try:
            popen = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, env={}, pass_fds=(rules, written))
        except OSError as error:
            os.close(info)
            raise SetupError(f"bubblewrap cannot be started: {clause(error)}") from error
        finally:
            os.close(rules)
            os.close(written)
        return popen, info

    def ready(self) -> None:
        """Wait until it takes requests.

        Raises:
            SetupError: it cannot be isolated, or does not start.
        """
        if self._is_ready:
            return
        try:
            frame = self._read(5, time.monotonic() + _START)
            if frame != b"ready":
                raise DiedError("it does not speak the protocol")
        except DiedError as error:
            self.kill()
            assert self._popen.stderr
            words = self._popen.stderr.read(2000).decode("utf-8", "replace").strip()
            hint = "sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns: may users "
            hint += "isolate processes here?"
            raise SetupError(
                f"the sandbox of the tool python does not start: {words.splitlines()[-1] if words else error}", hint
            ) from error
        if self._info is not None:
            with suppress(ValueError, KeyError):
                self._inside = int(json.loads(os.read(self._info, 4096))["child-pid"])
        self._is_ready = True

    def run(
        self, request: Request, files: Sequence[bytes], seconds: float, answer: Answering | None = None
    ) -> tuple[Reply, list[bytes]]:
        """Run code; returns what came of it, and the RGB pixels of each image.

        Args:
            request: what to run.
            files: a PNG of each of its images.
            seconds: after which the process is ended; the time in which calls are answered does not count.
            answer: answers the calls of functions; what it raises ends the process.

        Raises:
            DiedError: it took too long, used too much, or ended.
        """
        self._requests += 1
        request = msgspec.structs.replace(request, id=self._requests)
        end = time.monotonic() + seconds
        try:
            self.ready()
            self._send((msgspec.json.encode(request), *files), end, seconds)
            return self._reply(request, end, seconds, answer)
        except BaseException:
            self.kill()
            raise

    def _send(self, frames: Sequence[bytes], end: float, seconds: float) -> None:
        for frame in frames:
            self._write(struct.pack(">I", len(frame)) + frame, end, seconds)

    def _reply(
        self, request: Request, end: float, seconds: float, answer: Answering | None
    ) -> tuple[Reply, list[bytes]]:
        count = 0
        while isinstance(found := self._found(request, end, seconds), Asked):
            pixels = self._pixels(found.images, end, seconds)
            began, count = time.monotonic(), count + 1
            given = _answered(found, pixels, request, count, answer)
            end += time.monotonic() - began
            content = {"value": given.value, "error": given.error, "images": len(given.images)}
            # a model's or tool's text may hold half of a surrogate pair, which UTF-8 cannot
            frame = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
            self._send((frame, *given.images), end, seconds)
        pixels = self._pixels(found.images, end, seconds)
        most = 2 * request.most_characters + 100
        short = msgspec.structs.replace(
            found, stdout=found.stdout[:most], stderr=found.stderr[:most], notes=tuple(n[:200] for n in found.notes[:8])
        )
        return short, pixels

    def _found(self, request: Request, end: float, seconds: float) -> Reply | Asked:
        """The next that the process says: a call of a function, or what the code came to."""
        try:
            found = msgspec.json.decode(self._read(_MOST_JSON, end, seconds), type=Reply | Asked)
        except (ValueError, RecursionError):
            raise _broken() from None
        sizes = [width * height for width, height in found.images]
        if isinstance(found, Asked):
            fits = len(sizes) <= request.most_call_images and sum(sizes) <= request.most_pixels
        else:
            fits = len(sizes) <= request.most_images and all(size <= request.most_pixels for size in sizes)
        if found.id != request.id or not fits:
            raise _broken()
        return found

    def _pixels(self, sizes: Sequence[tuple[int, int]], end: float, seconds: float) -> list[bytes]:
        pixels = []
        for width, height in sizes:
            pixels.append(self._read(3 * width * height, end, seconds))
            if len(pixels[-1]) != 3 * width * height:
                raise _broken()
        return pixels

    def _read(self, most: int, end: float, seconds: float = _START) -> bytes:
        """The next frame, of at most so many bytes."""
        (length,) = struct.unpack(">I", self._bytes(4, end, seconds))
        if length > most:
            raise DiedError("Error: the interpreter sent too much. Its state is lost.")
        return self._bytes(length, end, seconds)

    def _bytes(self, count: int, end: float, seconds: float) -> bytes:
        found = bytearray()
        while len(found) < count:
            try:
                piece = os.read(self._out, min(count - len(found), 2**20))
            except BlockingIOError:
                self._wait(self._out, select.POLLIN, end, seconds)
                continue
            if not piece:
                raise self._ended()
            found += piece
        return bytes(found)

    def _write(self, data: bytes, end: float, seconds: float) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._in, view[:_PIECE]) :]
            except BlockingIOError:
                self._wait(self._in, select.POLLOUT, end, seconds)
            except OSError:
                raise self._ended() from None

    def _wait(self, fd: int, event: int, end: float, seconds: float) -> None:
        """Wait until a pipe can be used, and look meanwhile at what the process uses."""
        poll = select.poll()
        poll.register(fd, event)
        while not poll.poll(max(0.0, min(_LOOK, end - time.monotonic())) * 1000):
            if time.monotonic() >= end:
                raise DiedError(f"Error: the code took longer than {seconds:g} s and was ended. Its state is lost.")
            self._look()

    def _look(self) -> None:
        """End a process with too many threads or files, which no limit of the kernel holds for every user."""
        if self._inside is None:
            return
        with suppress(OSError):
            if len(os.listdir(f"/proc/{self._inside}/task")) > _MOST_THREADS:  # noqa: PTH208
                raise DiedError(f"Error: the code started more than {_MOST_THREADS} threads and was ended.")
            state = os.statvfs(f"/proc/{self._inside}/root{isolator.FOLDER}")
            if state.f_files - state.f_ffree > _MOST_FILES:
                raise DiedError(f"Error: the code made more than {_MOST_FILES} files and was ended.")

    def _ended(self) -> DiedError:
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(1)
        code = self._popen.returncode
        number = -code if code is not None and code < 0 else (code or 0) - 128
        name = signal.Signals(number).name if number in set(signal.Signals) else None
        how = f"by {name}" if name else f"with exit code {code}"
        return DiedError(f"Error: the interpreter ended {how}, which may be for lack of memory. Its state is lost.")

    def kill(self) -> None:
        """End it and all that it started; its folder is gone then."""
        with self._lock:
            if self._popen.returncode is None:
                with suppress(ProcessLookupError):
                    if self._folder:
                        os.killpg(self.pid, signal.SIGKILL)
                    self._popen.kill()
            for stream in (self._popen.stdin, self._popen.stdout):
                with suppress(OSError):
                    assert stream
                    stream.close()
            if self._info is not None:
                os.close(self._info)
                self._info = None
            self._popen.wait()
            if self._folder:
                shutil.rmtree(self._folder, ignore_errors=True)


def _broken() -> DiedError:
    return DiedError("Error: the connection to the interpreter broke. Its state is lost.")


def _answered(asked: Asked, pixels: Sequence[bytes], request: Request, count: int, answer: Answering | None) -> Answer:
    """What a call is answered with; `count` is its number, from 1."""
    if count > request.most_calls + _BEYOND:
        raise DiedError("Error: the code went on to call functions after its last call and was ended.")
    if asked.name not in request.functions or answer is None:
        return Answer(error=f"this code may not call {asked.name[:80]}()")
    if count > request.most_calls:
        return Answer(error=f"the code has called functions {request.most_calls} times, and may not call one again")
    return answer(asked, pixels)
