"""Code that tries to get out of the sandbox gets nothing, and the process that runs it goes on."""

import os
import platform
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support import host
from support.sandboxed import Runs, pool_of

from virc_extras.sandbox import cgroup
from virc_extras.sandbox.pool import Pool

pytestmark = pytest.mark.integration

SECRET = "the-secret-of-this-test"


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with pool_of(2) as pool:
        yield pool


@pytest.fixture
def runs(pool: Pool) -> Iterator[Runs]:
    runs = Runs(pool)
    yield runs
    assert runs.said("6 * 7") == "42"  # this process still answers


def processes() -> set[int]:
    """Ids of the processes that run the runner."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if b"/runner.py" in line:
            found.add(int(folder.name))
    return found


def under(parent: int) -> set[int]:
    """Those of `processes` that a process has started, itself or by others; further tests may run beside this one."""
    parents = {}
    for each in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(each.parent.name)] = int(each.read_text().rpartition(")")[2].split()[1])
    found = {parent}
    while more := {child for child, above in parents.items() if above in found} - found:
        found |= more
    return found & processes()


def test_a_file_of_the_user_cannot_be_read(runs: Runs, tmp_path: Path) -> None:
    file = tmp_path / "id_rsa"
    file.write_text(SECRET)
    file.chmod(0o644)
    assert "FileNotFoundError" in runs.said(f"open({str(file)!r}).read()")
    for place in ("/root", "/home", "/etc/passwd", "/etc/shadow", "/var", str(Path(__file__).parent)):
        assert "FileNotFoundError" in runs.said(f"import os; os.stat({place!r})"), place


def test_symlinks_lead_nowhere_outside(runs: Runs, tmp_path: Path) -> None:
    file = tmp_path / "outside"
    file.write_text("kept")
    said = runs.said(f"import os\nos.symlink({str(file)!r}, 'a')\nopen('a', 'w').write('lost')")
    assert "FileNotFoundError" in said
    assert file.read_text() == "kept"


def test_sockets_of_this_process_are_out_of_reach(runs: Runs, tmp_path: Path) -> None:
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as abstract, socket.socket(socket.AF_UNIX) as named:
        tcp.bind(("127.0.0.1", 0))
        abstract.bind(f"\0virc-{os.getpid()}")
        named.bind(str(tmp_path / "s"))
        for each in (tcp, abstract, named):
            each.listen()
        for family, address in (
            ("AF_INET", tcp.getsockname()), ("AF_UNIX", f"\0virc-{os.getpid()}"), ("AF_UNIX", str(tmp_path / "s")),
        ):  # fmt: skip
            said = runs.said(f"import socket\nsocket.socket(socket.{family}).connect({address!r})")
            assert "PermissionError" in said, address
    assert "gaierror" in runs.said("import socket\nsocket.getaddrinfo('example.org', 80)")


@pytest.mark.parametrize(
    "bomb",
    ["x = bytearray(1 << 40)", "x = []\nwhile True: x.append(bytearray(1 << 20))", "x = 'a' * (1 << 34)",
     "import numpy\nnumpy.ones(1 << 32)", "import mmap\nmmap.mmap(-1, 1 << 34)",
     "f = open('big', 'wb')\nwhile True: f.write(bytes(1 << 20)); f.flush()",
     "import os\nfor i in range(99): open(str(i), 'wb').write(bytes(1 << 20))"],
)  # fmt: skip
def test_memory_is_limited(runs: Runs, bomb: str) -> None:
    said = runs.said(bomb)
    assert any(fault in said for fault in ("MemoryError", "ended", "OSError", "Cannot allocate")), said


def test_a_loop_without_end_is_ended_in_time(runs: Runs) -> None:
    for loop in ("while True: pass", "import time\ntime.sleep(99)", "10 ** 10 ** 8", "import signal\nsignal.pause()"):
        assert "took longer than 1 s" in runs.said(loop, 1)


@pytest.mark.parametrize(
    "call",
    ["ptrace(16, 1, None, None)", "mount(b'proc', b'/work', b'proc', 0, None)", "umount2(b'/work', 2)",
     "chroot(b'/work')", "unshare(0x10000000)", "setns(0, 0)", "setuid(0)", "sethostname(b'x', 1)", "personality(0)",
     "prctl(1, 0, 0, 0, 0)", "syscall(321, 0, 0, 0)", "syscall(425, 8, 0)", "syscall(319, b'x', 0)",
     "syscall(435, 0, 0)"],
)  # fmt: skip
def test_calls_of_the_system_are_refused(runs: Runs, call: str) -> None:
    said = runs.said(f"import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.{call}, ctypes.get_errno()")
    assert said.startswith("(-1, "), said


@pytest.mark.skipif(platform.machine() != "x86_64", reason="no second set of numbers of calls")
def test_calls_by_their_numbers_of_x32_end_the_process(runs: Runs) -> None:
    said = runs.said("import ctypes\nctypes.CDLL(None).syscall(0x40000000 + 41, 2, 1, 0)")  # socket
    assert "ended by SIGSYS" in said


@pytest.mark.parametrize(
    "code",
    ["import os\nos.closerange(0, 100)", "import os\nos.closerange(0, 100)\nwhile True: pass", "import os\nos._exit(0)",
     "import os\nfor fd in range(3, 20):\n    try: os.write(fd, b'\\xff' * 10_000)\n    except OSError: pass",
     "import os\nfor fd in range(3, 20):\n    try: os.write(fd, b'\\0\\0\\0\\4null')\n    except OSError: pass",
     "import os\nfor fd in range(3, 20):\n    try: os.write(fd, b'\\0\\0\\0\\2{}' * 999)\n    except OSError: pass",
     "import os\nfor fd in range(3, 20):\n    try: os.read(fd, 9)\n    except OSError: pass",
     "import sys\nsys.modules['__main__'].write = print", "import json\njson.dumps = lambda _: '[' * 100_000",
     "import ctypes\nctypes.string_at(0)", "import sys\nsys.setrecursionlimit(10**9)\nf = lambda: f()\nf()",
     "import sys\nsys.stdout.value = lambda: 'x' * 10**8"],
)  # fmt: skip
def test_a_hostile_end_of_the_pipe_is_borne(runs: Runs, code: str) -> None:
    runs.said(code, 2)
    runs.said("1", 2)  # what it left in the pipe may spoil the next reply, and no other


def test_an_image_bomb_goes_off_inside(runs: Runs) -> None:
    bomb = (
        "import struct, zlib\n"
        "def chunk(kind, data):\n"
        "    parts = struct.pack('>I', len(data)), kind, data, struct.pack('>I', zlib.crc32(kind + data))\n"
        "    return b''.join(parts)\n"
        "head = struct.pack('>IIBBBBB', 60_000, 60_000, 8, 2, 0, 0, 0)\n"
        "data = chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(bytes(30_000_000))) + chunk(b'IEND', b'')\n"
        "open('bomb.png', 'wb').write(b'\\x89PNG\\r\\n\\x1a\\n' + data)"
    )
    assert "bomb.png cannot be shown" in runs.said(bomb)
    assert runs.pixels == []


def test_nothing_is_left_when_the_pool_closes() -> None:
    before = processes()
    with pool_of(2) as pool:
        runs = Runs(pool)
        runs.said("import threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()")
        Runs(pool).said("x = 1")
        assert processes() - before
    end = time.monotonic() + 200
    while processes() - before and time.monotonic() < end:
        time.sleep(0.05)
    assert processes() - before == set()


_STAYS = "import ctypes, time; ctypes.CDLL(None).prctl(1, 0); time.sleep(99)"  # asks not to end with its parent


@pytest.mark.parametrize("code", ["import time; time.sleep(99)", "while True: pass", _STAYS])
def test_all_end_when_their_parent_is_killed(code: str) -> None:
    script = (
        "import threading, time\nfrom support.sandboxed import Runs\nfrom virc_extras.sandbox.pool import Pool\n"
        f"pool = Pool(2)\nthreading.Thread(target=Runs(pool).said, args=({code!r}, 60)).start()\n"
        "Runs(pool).said('1')\nprint('ready', flush=True)\ntime.sleep(99)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=env)
    assert parent.stdout
    assert parent.stdout.readline() == b"ready\n"
    end = time.monotonic() + 200
    while len(started := under(parent.pid)) < 3:
        assert time.monotonic() < end, started
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    end = time.monotonic() + 200
    while processes() & started and time.monotonic() < end:
        time.sleep(0.05)
    assert processes() & started == set()
    end = time.monotonic() + 200  # a group stays busy for a moment after its last process
    while left := host.groups([parent.pid]):
        assert time.monotonic() < end, left
        cgroup._parent.cache_clear()
        cgroup._parent(os.getpid())  # as in the next process of virc
        time.sleep(0.05)


def test_one_that_hangs_keeps_no_other_waiting(pool: Pool) -> None:
    hanging = Runs(pool)
    thread = threading.Thread(target=hanging.said, args=("while True: pass", 20))
    thread.start()
    assert Runs(pool).said("1") == "1"
    assert thread.is_alive()
    thread.join()
