"""A process of the sandbox as the kernel sees it: what it uses, and how it is stopped between two pieces of code."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from virc_extras.sandbox import cgroup
from virc_extras.sandbox.isolator import FOLDER, MAX_THREADS, Machine, threads_by_kernel

LOOK = 0.01
"""Seconds between two looks at a process whose code runs."""
MAX_FILES = 5_000
_MORE_MEMORY = 64 * 2**20  # bytes of a group besides the address space and the folder: pipes, and what the kernel keeps
_MORE_SECONDS = 0.5  # of processors, so that one thread is ended for its time on the clock
_TICK, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
_LOOKED = f"virc looks {1 / LOOK:g} times a second while code runs"


class DiedError(Exception):
    """The process has ended, or was ended; why, as a sentence for the model."""


class Watch:
    """Watches a process, which has just been started; `how` says what holds each limit that depends on the machine.

    Raises:
        FileNotFoundError, ProcessLookupError: it has ended.
        OSError: the kernel is older than Linux 5.3.
    """

    def __init__(self, pid: int, machine: Machine) -> None:
        self._open: list[int] = []
        self._group: Path | None = None
        try:  # an id may become that of another process, and what is open here cannot
            self._open.append(os.pidfd_open(pid))
            self._open.append(os.open(f"/proc/{pid}/stat", os.O_RDONLY))
        except OSError:
            self.close()
            raise
        self._pid, (self._process, self._stat) = pid, self._open
        with suppress(OSError):  # where memory runs out, the kernel ends it, and no program of the user
            Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
        memory = (machine.memory_mib + machine.disk_mib) * 2**20 + _MORE_MEMORY
        limits = {"memory.max": str(memory), "memory.swap.max": "0", "pids.max": str(MAX_THREADS)}
        self._group = cgroup.make(pid, {**limits, "cpu.max": "100000 100000"})
        self._allowed = self._until = 0.0
        self.how = self._how()

    def enter(self) -> None:
        """Open its folder, which is there before it runs code of a model."""
        self._folder = os.open(f"/proc/{self._pid}/root{FOLDER}", os.O_RDONLY | os.O_DIRECTORY)
        self._open.append(self._folder)

    def begin(self, seconds: float) -> None:
        """Let it run, and use `seconds` of processors from now on."""
        self._allowed, self._until = seconds, self._used()[0] + seconds + _MORE_SECONDS
        self.look()
        self.resume()

    def look(self) -> None:
        seconds, threads = self._used()
        if threads > MAX_THREADS:
            raise DiedError(f"Error: the code started more than {MAX_THREADS} threads and was ended.")
        state = os.fstatvfs(self._folder)
        if state.f_files - state.f_ffree > MAX_FILES:
            raise DiedError(f"Error: the code made more than {MAX_FILES} files and was ended.")
        if seconds > self._until:
            raise DiedError(f"Error: the code used more than {self._allowed:g} s of processor time and was ended.")

    def stop(self) -> None:
        self._signal(signal.SIGSTOP)
        self._freeze("1")

    def resume(self) -> None:
        self._freeze("0")
        self._signal(signal.SIGCONT)

    def is_stopped(self) -> bool:
        if self._group and "frozen 1" in (self._group / "cgroup.events").read_text():
            return True
        return self._fields()[0] == b"T"

    def held(self) -> int:
        """Bytes of memory that it holds, without its folder; 0 of one that has ended."""
        with suppress(ProcessLookupError):
            return int(self._fields()[21]) * _PAGE
        return 0

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        while self._open:
            os.close(self._open.pop())
        if self._group:
            cgroup.remove(self._group)

    def _signal(self, number: signal.Signals) -> None:
        if self._open:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, number)

    def _freeze(self, value: str) -> None:
        if self._group:
            with suppress(OSError):  # somebody has removed the group: the signals are left
                (self._group / "cgroup.freeze").write_text(value)

    def _fields(self) -> list[bytes]:
        """Those of `/proc/PID/stat` behind the name."""
        return os.pread(self._stat, 4096, 0).rpartition(b")")[2].split()

    def _used(self) -> tuple[float, int]:
        """Seconds of processors that it has used, and how many threads it has; zeros of one that has ended."""
        try:
            fields = self._fields()
        except ProcessLookupError:
            return 0.0, 0
        return (int(fields[11]) + int(fields[12])) / _TICK, int(fields[17])

    def _how(self) -> dict[str, str]:
        has = {each.name for each in self._group.iterdir()} if self._group else set[str]()
        threads = "pids.max" if "pids.max" in has else "RLIMIT_NPROC" if threads_by_kernel() else _LOOKED
        return {
            "memory": "RLIMIT_AS, memory.max" if "memory.max" in has else "RLIMIT_AS",
            "threads": f"{MAX_THREADS}; {threads}",
            "time": f"of the clock and of processors; {_LOOKED}{'; cpu.max' if 'cpu.max' in has else ''}",
            "files": f"{MAX_FILES:,}; {_LOOKED}",
            "between calls": "cgroup.freeze and SIGSTOP" if "cgroup.freeze" in has else "SIGSTOP",
        }
