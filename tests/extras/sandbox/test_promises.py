"""Each promise of the sandbox, once, in the default suite; `test_escapes.py` has further cases of each."""

import os
import resource
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.sandboxed import Runs, pool_of
from support.tables import each_case

from virc_extras.sandbox import cgroup
from virc_extras.sandbox import pool as pools
from virc_extras.sandbox.calls import Answer, Asked, Request
from virc_extras.sandbox.child import Child
from virc_extras.sandbox.isolator import Machine
from virc_extras.sandbox.pool import Pool
from virc_extras.sandbox.watch import Watch

BARE = Machine(512, 4, ())
SECRET = "the-secret-of-the-promises"
HEAD = "import ctypes, os, resource, socket, sys, threading, time\nlibc = ctypes.CDLL(None, use_errno=True)\n"


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with pytest.MonkeyPatch.context() as patched, pool_of(1) as pool:
        patched.setenv("VIRC_API_KEY", SECRET)
        yield pool


@pytest.fixture(scope="module")
def shared(pool: Pool) -> Runs:
    """A process that no code ends."""
    runs = Runs(pool, BARE)
    assert runs.said(HEAD) == ""
    return runs


@pytest.fixture
def runs(pool: Pool) -> Runs:
    runs = Runs(pool, BARE)
    assert runs.said(HEAD) == ""
    return runs


def watch_of(runs: Runs) -> Watch:
    """What watches the process of a problem, which has been given code."""
    watch = runs.pool._waiting[id(runs.past.problem)].child.watch
    assert watch
    return watch


def wait_until_stopped(watch: Watch) -> None:
    """Wait for what the kernel does at once, unless it does not."""
    end = time.monotonic() + 200
    while not watch.is_stopped() and time.monotonic() < end:
        time.sleep(0.002)
    assert watch.is_stopped()


@each_case(
    ("code", "says"),
    [
        *((f"open('{place}/x', 'w')", "Read-only file system") for place in ("", "/usr/lib", "/python", "/dev")),
        ("open(os.path.dirname(os.__file__) + '/x', 'w')", "Read-only file system"),
        ("open('/runner.py', 'a')", "Error: [Errno "),
        ("os.fork()", "PermissionError"),
        ("os.execv('/python/bin/python', ['python'])", "PermissionError"),
        ("os.posix_spawn('/python/bin/python', ['python'], {})", "PermissionError"),
        ("libc.syscall(322, -100, b'/python/bin/python', 0, 0, 0), ctypes.get_errno()", "(-1, 1)"),  # execveat
        ("socket.socket()", "PermissionError"),
        ("socket.socketpair(socket.AF_INET)", "PermissionError"),
        ("open('/etc/passwd')", "FileNotFoundError"),
        ("os.listdir('/root')", "FileNotFoundError"),
        ("os.listdir('/home')", "FileNotFoundError"),
        ("os.listdir('/proc')", "FileNotFoundError"),
        ("bytearray(1 << 40)", "MemoryError"),
        ("resource.setrlimit(resource.RLIMIT_AS, (-1, -1))", "Error"),
        ("for name in 'ab':\n    with open(name, 'wb') as it: it.write(bytes(3 << 20))", "No space left on device"),
        ("[os.unlink(each) for each in os.listdir()]; open('c', 'wb').truncate(5 << 20)", "File too large"),
        (
            "libc.prctl(4, 1, 0, 0, 0), libc.prctl(3, 0, 0, 0, 0)",
            "(-1, 0)",
        ),  # no core file, also where one is asked for
        ("libc.prctl(1, 0, 0, 0, 0)", "-1"),  # it ends with its parent
        ("libc.timer_create(1, 0, ctypes.create_string_buffer(8))", "-1"),  # whose signal is SIGCONT
        ("import fcntl; fcntl.fcntl(3, 10, 18)", "PermissionError"),  # F_SETSIG
        ("a, b = socket.socketpair(); a.setsockopt(1, 7, 1 << 30)", "PermissionError"),  # memory of the kernel
        ("libc.syscall(457, 0, 0, 0, 0), ctypes.get_errno()", "(-1, 38)"),  # statmount, which is newer than the filter
        *(  # SIGCONT, with which a SIGSTOP that waits for its thread is lost
            (f"{call}, ctypes.get_errno()", "(-1, 1)")
            for call in (
                "libc.kill(1, 18)",
                "libc.syscall(200, 1, 18)",
                "libc.syscall(234, 1, 1, 18)",
                "libc.sigqueue(1, 18, None)",
                "libc.syscall(297, 1, 1, 18, ctypes.create_string_buffer(128))",
            )
        ),
        ("a, b = socket.socketpair(); import fcntl; fcntl.ioctl(a, 0x8982, bytes(64))", "PermissionError"),  # a module
        ("libc.syscall(435, 0, 0), ctypes.get_errno()", "(-1, 38)"),  # clone3, whose flags no filter reads
        ("libc.mmap(None, 1 << 21, 3, 0x40022, -1, 0), ctypes.get_errno()", "(-1, 1)"),  # pages that were set aside
        ("libc.syscall(317, 1, 0, None), ctypes.get_errno()", "(-1, 1)"),  # seccomp: all users share room for filters
        ("libc.prctl(22, 2, None, 0, 0), ctypes.get_errno()", "(-1, 1)"),
        ("os.getresuid(), os.getresgid()", "((65534, 65534, 65534), (65534, 65534, 65534))"),
    ],
)
def test_what_is_refused(shared: Runs, code: str, says: str) -> None:
    assert says in shared.said(code)


def test_no_variable_of_the_user_is_inside(shared: Runs) -> None:
    said = shared.said("print(os.environ, sys.argv, sys.orig_argv)")
    assert "LANG" in said
    assert SECRET not in said


def test_devices_of_the_host_keep_modes_and_times(shared: Runs) -> None:
    devices = [Path("/dev", name) for name in ("null", "zero", "random", "urandom")]
    before = [(*each.stat(), each.stat().st_mtime_ns, each.stat().st_ctime_ns) for each in devices]
    code = "for name in os.listdir('/dev'):\n    path = f'/dev/{name}'\n"
    for change in (
        "os.chmod(path, 0o667)",
        "os.utime(path, (1, 1))",
        "os.chmod(os.open(path, 0), 0o667)",
        "libc.chown(path.encode(), -1, -1)",
        "open(path, 'rb').read(1), open(path, 'wb').write(b'x')",
    ):
        assert "Error" not in shared.said(f"{code}    {change}")
    after = [(*each.stat(), each.stat().st_mtime_ns, each.stat().st_ctime_ns) for each in devices]
    for device, state in zip(devices, before, strict=True):
        if device.stat().st_mode != state[0]:
            device.chmod(state[0] & 0o7777)
    assert after == before


def test_no_file_of_the_host_is_locked(shared: Runs) -> None:
    """A lock takes memory of the kernel, and stays while the process waits."""
    code = (
        "import fcntl\nfiles = [open('/runner.py'), open('/dev/null', 'r+'), open('locked', 'w')]\nfor file in files:\n"
    )
    assert shared.said(code + "    fcntl.flock(file, 2)\nfor file in files[1:]: fcntl.lockf(file, 2)") == ""
    assert f" {inside(shared)} " not in Path("/proc/locks").read_text()


def test_one_mount_can_be_written_and_has_a_size(shared: Runs) -> None:
    lines = Path(f"/proc/{inside(shared)}/mountinfo").read_text().splitlines()
    mounts = {line.split()[4]: (line.split()[5].split(","), line.rpartition(" ")[2]) for line in lines}
    assert {place for place, (flags, _) in mounts.items() if "ro" not in flags} == {
        "/work", *(f"/dev/{name}" for name in ("null", "zero", "random", "urandom")),
    }  # fmt: skip
    assert "size=4096k" in mounts["/work"][1]
    assert all("nosuid" in flags for flags, _ in mounts.values())
    assert all("nodev" in flags for place, (flags, _) in mounts.items() if not place.startswith("/dev/"))


def test_where_memory_runs_out_it_ends_first(shared: Runs) -> None:
    assert Path(f"/proc/{inside(shared)}/oom_score_adj").read_text() == "1000\n"


def test_processes_that_wait_hold_a_share_of_memory(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_memory", lambda: 50 * 2**20)
    large, small = Runs(pool, BARE), Runs(pool, BARE)
    large.said("x = b'1' * (24 << 20)")
    assert id(large.past.problem) in pool._waiting
    small.said("x = 1")
    assert list(pool._waiting) == [id(small.past.problem)]


def test_processes_that_wait_take_half_of_the_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (120, 4096))
    with pool_of(4) as pool:
        assert pool._max_sessions == 10  # of 6 files each


def test_the_process_has_no_capability_and_namespaces_of_its_own(runs: Runs) -> None:
    here, there = Path("/proc/self"), Path("/proc", str(inside(runs)))
    status = dict(line.split(":\t", 1) for line in (there / "status").read_text().splitlines())
    assert {int(status[kind], 16) for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    kinds = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
    assert [kind for kind in kinds if (there / "ns" / kind).readlink() == (here / "ns" / kind).readlink()] == []


def inside(runs: Runs) -> int:
    """Id of the process that runs the code, as this process sees it."""
    runs.said("")  # other tests may have taken its place
    parent = runs.pool._waiting[id(runs.past.problem)].child.pid
    return int(Path(f"/proc/{parent}/task/{parent}/children").read_text())


def test_only_what_is_listed_is_there_and_nothing_with_a_setuid_bit(shared: Runs) -> None:
    found = shared.said(
        "found = [os.path.join(a, c) for a, _, d in os.walk('/') for c in d]\n"
        "libraries = [each for each in found if each.startswith(('/usr', '/lib'))]\n"
        "print([p for p in found if os.lstat(p).st_mode & 0o6000], [p for p in libraries if '.so' not in p],\n"
        "      {p.split('/')[1] for p in found} - {'dev', 'lib', 'lib64', 'packages', 'python', 'usr', 'work'})",
        30,
    )
    assert found == "[] [] {'runner.py'}"


@pytest.mark.parametrize("has_group", [True, False])
def test_between_calls_no_thread_runs(monkeypatch: pytest.MonkeyPatch, has_group: bool) -> None:
    if not has_group:
        monkeypatch.setattr(cgroup, "make", lambda *_: None)
    with pool_of(1) as pool:
        runs = Runs(pool, BARE)
        runs.said(
            HEAD + "count = 0\ndef work():\n    global count\n    while True: count += 1; time.sleep(0)\n"
            "def later():\n    time.sleep(0.05)\n"
            "    for each in range(1000): open(str(each), 'w').close()\n"
            "    for _ in range(1000): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n"
            "for each in work, later: threading.Thread(target=each, daemon=True).start()\n"
            "while not count: time.sleep(0.001)"
        )
        watch = watch_of(runs)
        wait_until_stopped(watch)
        assert has_group or watch.how["between calls"] == "SIGSTOP"
        before = watch._used(), os.fstatvfs(watch._folder)
        time.sleep(0.1)
        assert (watch._used(), os.fstatvfs(watch._folder)) == before
        assert runs.said("count > 0") == "True"
    assert watch._group is None or not watch._group.exists()


def test_while_a_call_is_answered_no_thread_runs(pool: Pool) -> None:
    stopped = list[bool]()

    def answer(asked: Asked, pixels: Sequence[bytes]) -> Answer:
        assert child.watch
        wait_until_stopped(child.watch)
        stopped.append(True)
        return Answer(7)

    child = Child(BARE)
    try:
        child.ready()
        request = Request("print(ask())", (), "none", 0, 0, 99, functions={"ask": ()}, max_calls=1)
        assert child.run(request, [], 10, answer)[0].stdout == "7\n"
    finally:
        child.kill()
    assert stopped == [True]


@each_case(
    ("code", "says"),
    [
        ("threading.stack_size(65536)\nfor _ in range(63):\n"
         "    threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n"
         "time.sleep(0.1)\nprint('63 more')\n"
         "threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\ntime.sleep(60)",
         ("more than 64 threads", "can't start new thread")),
        ("for each in range(6_000): open(str(each), 'w').close()\ntime.sleep(60)", ("more than 5000 files",)),
        ("while True: pass", ("took longer than 0.1 s",)),
    ],
)  # fmt: skip
def test_what_ends_a_process(pool: Pool, code: str, says: tuple[str, ...]) -> None:
    runs = Runs(pool, BARE)
    said = runs.said(HEAD + code, 0.1 if "while" in code else 60)
    assert any(each in said for each in says), said


def test_time_of_processors_is_counted_over_all_threads(runs: Runs) -> None:
    """Here from outside, as there may be one processor."""
    watch = watch_of(runs)
    watch.begin(10)
    watch.look()
    watch._until = watch._used()[0] - 0.01
    with pytest.raises(Exception, match="more than 10 s of processor time"):
        watch.look()


def test_time_of_processors_of_earlier_calls_is_not_counted(shared: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    used = Watch._used
    monkeypatch.setattr(Watch, "_used", lambda watch: (used(watch)[0] + 3600, used(watch)[1]))
    assert shared.said("1 + 1") == "2"


FORGED = (
    "import gc, struct\n"
    "results = next(each for each in gc.get_objects() if type(each).__name__ == 'Channel').results\n"
    'forged = b\'{"kind": "reply", "id": %d, "stdout": "forged", "stderr": ""\'\n'
    'forged += b\', "notes": [], "fault": false, "images": []}\'\n'
)


def test_a_reply_that_nobody_has_asked_for_is_not_taken(runs: Runs) -> None:
    runs.said(
        FORGED + "def later():\n    results.write(struct.pack('>I', len(forged % 3)) + forged % 3); results.flush()\n"
        "write = sys.modules['__main__'].write\n"
        "sys.modules['__main__'].write = lambda stream, frame: (write(stream, frame), later())"
    )
    assert "connection to the interpreter broke" in runs.said("print('true')")


@pytest.mark.parametrize(
    ("length", "frame", "says"),
    [
        ("len(frame)", "forged % 1", "connection to the interpreter broke"),  # an earlier id
        ("len(frame)", "(forged % 2).replace(b'[]}', b'[[99999, 99999]]}')", "connection to the interpreter broke"),
        ("2**31 - 1", "b''", "sent too much"),
    ],
)
def test_what_is_no_reply_to_this_request_ends_the_process(runs: Runs, length: str, frame: str, says: str) -> None:
    code = f"frame = {frame}\nresults.write(struct.pack('>I', {length}) + frame); results.flush(); time.sleep(9)"
    assert says in runs.said(FORGED + code, 5)


def test_texts_of_a_forged_reply_are_bounded(runs: Runs) -> None:
    long = (
        "import json\nlong = 'x' * 10**4\n"
        "reply = {**json.loads(forged % 2), 'stdout': long, 'stderr': long, 'notes': [long] * 99}\n"
        "frame = json.dumps(reply).encode()\n"
    )
    sent = "results.write(struct.pack('>I', len(frame)) + frame); results.flush(); time.sleep(9)"
    found = runs.reply(FORGED + long + sent)
    assert found
    assert {len(found.stdout), len(found.stderr)} == {8_100}  # twice the characters of an output, and a note
    assert [len(each) for each in found.notes] == [200] * 8


def test_bytes_that_come_one_by_one_do_not_put_the_end_off(runs: Runs) -> None:
    """A reply for which the code takes a second, and it has a fifth of one."""
    said = runs.said(
        FORGED + "results.write(struct.pack('>I', 100 + len(forged % 2)))\n"
        "for _ in range(100): results.write(b' '); results.flush(); time.sleep(0.01)\n"
        "results.write(forged % 2); results.flush(); time.sleep(9)",
        0.2,
    )
    assert "took longer than 0.2 s" in said
