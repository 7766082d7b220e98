"""Which limits of the sandbox hold on this machine: programs inside it try to break each."""

import json
import time
from collections.abc import Iterator

import msgspec

from virc.core.errors import SetupError
from virc_extras.sandbox import isolator
from virc_extras.sandbox.calls import Request
from virc_extras.sandbox.child import Child
from virc_extras.sandbox.isolator import MAX_THREADS, Machine
from virc_extras.sandbox.watch import MAX_FILES, DiedError

_MACHINE = Machine(512, 4, ())
_SECONDS, _SHORT, _STOPS = 10.0, 0.2, 1.0
_HOW = {
    "network": "a network namespace without devices; sockets are refused",
    "files of this machine": "a tree of its own, read-only but for /work; no /etc, /home, /proc, /root, /sys, /var",
    "devices": "null, zero, random, urandom; their modes and times stay",
    "programs": "fork and exec are refused",
    "environment": "none of your variables",
    "memory": "",
    "disk": "a folder in memory of limited size",
}
_REFUSED = """
import json, os, resource, socket, sys

def refused(call, *arguments):
    try:
        call(*arguments)
    except (OSError, MemoryError, ValueError):
        return True
    return False

def forks():
    if not os.fork():
        os._exit(0)

def executes():
    try:
        os.execv("/nothing", ["nothing"])
    except FileNotFoundError:
        pass

def fills():
    for name in "ab":
        with open(name, "wb") as file:
            file.write(bytes(3 * 2**20))

before = os.stat("/dev/null")
refused(os.chmod, "/dev/null", before.st_mode & 0o7777)  # where it is not ignored, the same mode does no harm
places = ("/etc", "/home", "/proc", "/root", "/sys", "/var")
print(json.dumps({
    "network": refused(socket.socket),
    "files of this machine": not any(map(os.path.lexists, places)) and all(
        refused(open, f"{each}/x", "w") for each in ("", "/dev", "/packages", "/python", "/usr")),
    "devices":
        os.stat("/dev/null").st_ctime_ns == before.st_ctime_ns and len(os.listdir("/dev")) == 4,
    "programs": refused(forks) and refused(executes),
    "environment": set(os.environ) <= set(known.split()),
    "memory": refused(resource.setrlimit, resource.RLIMIT_AS, (-1, -1)) and refused(bytearray, 2**40),
    "disk": refused(fills),
}))
"""
_THREADS = f"""
import threading, time
for _ in range({2 * MAX_THREADS}):
    threading.Thread(target=time.sleep, args=(1,), daemon=True).start()
time.sleep(1)
print("started")
"""
_FILES = f"""
import time
for each in range({MAX_FILES} + 100):
    open(str(each), "w").close()
time.sleep(1)
print("made")
"""


class Limit(msgspec.Struct, frozen=True):
    """A limit of the sandbox, whether it holds here, and what holds it or why it does not."""

    name: str
    holds: bool
    how: str


def limits() -> tuple[Limit, ...]:
    """Raises SetupError: there is no sandbox here; the message says why."""
    if isolator.unsafe():
        raise SetupError(f"{isolator.UNSAFE} is set")
    isolator.check_isolator()
    children = [Child(_MACHINE) for _ in range(4)]
    try:
        return tuple(_tried(*children))
    finally:
        for each in children:
            each.kill()


def _tried(refusing: Child, threads: Child, files: Child, endless: Child) -> Iterator[Limit]:
    said = _said(refusing, _REFUSED)
    held = json.loads(said) if said.startswith("{") else {}
    how = refusing.watch.how if refusing.watch else {}
    for name, holder in _HOW.items():
        yield _limit(name, held.get(name) is True, holder or how[name])
    yield _limit("threads", _said(threads, _THREADS) != "started\n", how["threads"])
    yield _limit("number of files", _said(files, _FILES) != "made\n", how["files"])
    yield _limit("time", "took longer" in _said(endless, "while True: pass", _SHORT), how["time"])
    yield _limit("between calls", _stops(refusing), how["between calls"])


def _limit(name: str, holds: bool, how: str) -> Limit:
    return Limit(name, holds, how if holds else f"a program inside broke it; meant to hold it: {how}")


def _said(child: Child, code: str, seconds: float = _SECONDS) -> str:
    known = " ".join(("LD_LIBRARY_PATH", "PWD", *isolator.variables()))
    try:
        return child.run(Request(code, (), "none", 0, 0, 10_000, variables={"known": known}), [], seconds)[0].stdout
    except DiedError as died:
        return str(died)


def _stops(child: Child) -> bool:
    end = time.monotonic() + _STOPS
    while child.watch and not child.watch.is_stopped() and time.monotonic() < end:
        time.sleep(0.001)
    return bool(child.watch and child.watch.is_stopped())
