"""One process of the sandbox, from outside: started, given code, and ended. Nothing that it sends is trusted."""

import json
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from virc.core.errors import SetupError
from virc.core.text import clause
from virc_extras.sandbox import isolator, seccomp
from virc_extras.sandbox.calls import Answer, Answering, Asked, CodeReply, Request
from virc_extras.sandbox.isolator import Machine
from virc_extras.sandbox.watch import LOOK, DiedError, Watch

_START = 60.0  # seconds until it is ready, on a machine that is busy
_MAX_JSON = 2**22  # bytes of the first frame of a reply
_PIECE = 2**16  # bytes that are written at once
_BEYOND = 8  # calls after the last one that is answered, before the process is ended


class Child:
    """A process of the sandbox. It ends with this process, whatever ends that. Raises SetupError."""

    def __init__(self, machine: Machine) -> None:
        self.watch: Watch | None = None
        self._folder: Path | None = None
        self._requests, self._looked = 0, 0.0
        self._lock = threading.Lock()
        self._popen = self._started(machine)
        self.pid = self._popen.pid
        assert self._popen.stdin
        assert self._popen.stdout
        self._in, self._out = self._popen.stdin.fileno(), self._popen.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._is_ready = False

    def _started(self, machine: Machine) -> "subprocess.Popen[bytes]":
        pipe = subprocess.PIPE
        if isolator.unsafe():
            self._folder = Path(tempfile.mkdtemp(prefix="virc-python-"))
            argv, env = isolator.unsafe_command(machine, self._folder), isolator.variables(str(self._folder))
            return subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, env=env, start_new_session=True)
        try:
            program = seccomp.program()
        except OSError as error:
            raise SetupError(f"the sandbox of the tool python has no filter: {clause(error)}") from error
        rules = os.memfd_create("seccomp")
        os.write(rules, program)
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
        try:
            self.watch = _watch(info, machine)
        except OSError as error:
            popen.kill()
            raise SetupError(f"the sandbox of the tool python cannot be watched: {clause(error)}") from error
        return popen

    def ready(self) -> None:
        """Raises SetupError: it cannot be isolated, or does not start."""
        if self._is_ready:
            return
        try:
            frame = self._read(5, time.monotonic() + _START)
            if frame != b"ready":
                raise DiedError("it does not speak the protocol")
            if self.watch:
                self.watch.enter()
        except (DiedError, OSError) as error:
            self.kill()
            assert self._popen.stderr
            words = self._popen.stderr.read(2000).decode("utf-8", "replace").strip()
            raise isolator.start_error(words.splitlines()[-1] if words else str(error)) from error
        self._is_ready = True

    def run(
        self, request: Request, files: Sequence[bytes], seconds: float, answer: Answering | None = None
    ) -> tuple[CodeReply, list[bytes]]:
        """Run code; returns its reply, and the RGB pixels of each image.

        Args:
            files: a PNG of each of its images.
            seconds: after which the process is ended; the time in which calls are answered does not count.

        Raises:
            DiedError: it took too long, used too much, or ended.
        """
        self._requests += 1
        request = msgspec.structs.replace(request, id=self._requests)
        end = time.monotonic() + seconds
        try:
            self.ready()
            if _is_ready(self._out, select.POLLIN, 0):  # a reply to a request that nobody has made
                raise _broken()
            if self.watch:
                self.watch.begin(seconds)
            self._send((msgspec.json.encode(request), *files), end, seconds)
            found = self._reply(request, end, seconds, answer)
            if self.watch:
                self.watch.stop()
                self.watch.look()
            return found
        except BaseException:
            self.kill()
            raise

    def _send(self, frames: Sequence[bytes], end: float, seconds: float) -> None:
        for frame in frames:
            self._write(struct.pack(">I", len(frame)) + frame, end, seconds)

    def _reply(
        self, request: Request, end: float, seconds: float, answer: Answering | None
    ) -> tuple[CodeReply, list[bytes]]:
        count = 0
        while isinstance(found := self._found(request, end, seconds), Asked):
            pixels = self._pixels(found.images, end, seconds)
            began, count = time.monotonic(), count + 1
            if self.watch:
                self.watch.stop()
            given = _answered(found, pixels, request, count, answer)
            if self.watch:
                self.watch.resume()
            end += time.monotonic() - began
            content = {"value": given.value, "error": given.error, "images": len(given.images)}
            # a model's or tool's text may hold half of a surrogate pair, which UTF-8 cannot
            frame = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
            self._send((frame, *given.images), end, seconds)
        pixels = self._pixels(found.images, end, seconds)
        most = 2 * request.max_characters + 100
        short = msgspec.structs.replace(
            found, stdout=found.stdout[:most], stderr=found.stderr[:most], notes=tuple(n[:200] for n in found.notes[:8])
        )
        return short, pixels

    def _found(self, request: Request, end: float, seconds: float) -> CodeReply | Asked:
        try:
            found = msgspec.json.decode(self._read(_MAX_JSON, end, seconds), type=CodeReply | Asked)
        except (ValueError, RecursionError):
            raise _broken() from None
        sizes = [width * height for width, height in found.images]
        if isinstance(found, Asked):
            fits = len(sizes) <= request.max_call_images and sum(sizes) <= request.max_pixels
        else:
            fits = len(sizes) <= request.max_images and all(size <= request.max_pixels for size in sizes)
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
        (length,) = struct.unpack(">I", self._bytes(4, end, seconds))
        if length > most:
            raise DiedError("Error: the interpreter sent too much. Its state is lost.")
        return self._bytes(length, end, seconds)

    def _bytes(self, count: int, end: float, seconds: float) -> bytes:
        found = bytearray()
        while len(found) < count:
            self._look(end, seconds)
            try:
                piece = os.read(self._out, min(count - len(found), 2**20))
            except BlockingIOError:
                _is_ready(self._out, select.POLLIN, LOOK)
                continue
            if not piece:
                raise self._ended()
            found += piece
        return bytes(found)

    def _write(self, data: bytes, end: float, seconds: float) -> None:
        view = memoryview(data)
        while view:
            self._look(end, seconds)
            try:
                view = view[os.write(self._in, view[:_PIECE]) :]
            except BlockingIOError:
                _is_ready(self._in, select.POLLOUT, LOOK)
            except OSError:
                raise self._ended() from None

    def _look(self, end: float, seconds: float) -> None:
        """Look at its time, and now and then at what it uses. A byte that it sends does not put that off."""
        now = time.monotonic()
        if now >= end:
            raise DiedError(f"Error: the code took longer than {seconds:g} s and was ended. Its state is lost.")
        if self.watch and self._is_ready and now >= self._looked + LOOK:
            self._looked = now
            self.watch.look()

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
                if self.watch:
                    self.watch.kill()
                with suppress(ProcessLookupError):
                    if self._folder:
                        os.killpg(self.pid, signal.SIGKILL)
                    self._popen.kill()
            for stream in (self._popen.stdin, self._popen.stdout):
                with suppress(OSError):
                    assert stream
                    stream.close()
            self._popen.wait()
            if self.watch:
                self.watch.close()
            if self._folder:
                shutil.rmtree(self._folder, ignore_errors=True)


def _watch(info: int, machine: Machine) -> Watch | None:
    """Watch the process that bubblewrap names in a pipe; None where it has ended already, and its words say why."""
    with open(info, "rb") as file:
        text = file.read()  # all of it, as bubblewrap ends where it cannot write
    found = re.search(rb'"child-pid":\s*(\d+)', text)
    if found is None:
        return None
    try:
        return Watch(int(found[1]), machine)
    except (FileNotFoundError, ProcessLookupError):
        return None


def _is_ready(fd: int, event: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, event)
    return any(found & event for _, found in poll.poll(seconds * 1000))


def _broken() -> DiedError:
    return DiedError("Error: the connection to the interpreter broke. Its state is lost.")


def _answered(asked: Asked, pixels: Sequence[bytes], request: Request, count: int, answer: Answering | None) -> Answer:
    if count > request.max_calls + _BEYOND:
        raise DiedError("Error: the code went on to call functions after its last call and was ended.")
    if asked.name not in request.functions or answer is None:
        return Answer(error=f"this code may not call {asked.name[:80]}()")
    if count > request.max_calls:
        return Answer(error=f"the code has called functions {request.max_calls} times, and may not call one again")
    return answer(asked, pixels)
