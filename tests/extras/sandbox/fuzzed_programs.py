"""Random programs for the sandbox, many of them hostile; as a script, with COUNT and SEED."""

import os
import random
import re
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from support import host
from support.sandboxed import Runs

from virc_extras.sandbox.pool import Pool

SECRET = "the-secret-of-the-fuzzed-programs"
_PLACES = (
    "/", "/etc/passwd", "/root", "/proc/1/environ", "/proc/self/mem", "/dev/mem", "/dev/null", "/work/../..", "/tmp/x",
    "/sys", "/dev/zero", "/dev/urandom", "/usr", "/packages/numpy", "/python/lib", "/runner.py", "../../../etc/shadow",
    "/dev/fd/0", "/usr/lib", "\\0", "a" * 300, "{outside}",
)  # fmt: skip
_CALLS = (
    "open({p!r}).read()", "open({p!r}, 'w').write('x' * {n})", "open({p!r}, 'ab').write(b'x')",
    "os.listdir({p!r})", "os.symlink({p!r}, str({n}))", "os.link({p!r}, str({n}))", "os.unlink({p!r})",
    "os.rename({p!r}, '/work/b')", "os.chmod({p!r}, 0o777)", "os.chown({p!r}, 0, 0)", "os.mkfifo('f{n}')",
    "os.mknod('n{n}', 0o600 | 0o020000, {n})", "os.kill({s}, {k})", "os.killpg({s}, {k})", "os.fork()",
    "os.forkpty()", "os.posix_spawn({p!r}, ['x'], {{}})", "os.execv({p!r}, ['x'])", "os.setuid(0)",
    "os.setgid(0)", "os.chroot({p!r})", "os.nice(-5)", "os.setsid()", "os.pipe()", "os.close({f})",
    "os.dup2({f}, {g})", "os.write({f}, b'{junk}' * {m})", "os.read({f}, 8)", "os._exit({k})", "os.abort()",
    "os.closerange({f}, {n})", "os.ftruncate({f}, {n})", "os.sendfile({f}, {g}, 0, 99)", "os.memfd_create('x')",
    "socket.create_connection(('127.0.0.1', {port}), 1)", "socket.socket(socket.AF_UNIX).connect('\\0x')",
    "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", "socket.socketpair()",
    "socket.gethostbyname('localhost')", "libc.syscall({call}, {n}, {n}, {n}, {n}, {n}, {n})",
    "libc.syscall({call}, -1, 0, 0, 0, 0, 0)", "libc.mount(b'x', b'/work', b'tmpfs', {n}, None)",
    "libc.prctl({k}, {n}, 0, 0, 0)", "libc.ptrace({k}, {s}, 0, 0)", "ctypes.string_at({n})",
    "ctypes.memset(id(None), 0, {m})", "libc.unshare({n})", "resource.setrlimit({k}, ({n}, {n}))",
    "signal.signal({k}, lambda *_: None)", "signal.alarm(1)", "sys.exit({n})", "sys.setrecursionlimit({n})",
    "(lambda f: f(f))(lambda f: f(f))", "bytearray({n} * {n})", "[0] * {n} * {n}", "'{junk}' * {n}",
    "print('{junk}' * {n})", "sys.stderr.write('{junk}' * {n})", "threading.Thread(target=print).start()",
    "time.sleep(0.{k})", "Image.new('RGB', ({n}, {m})).save('i{k}.png')", "Image.new('RGB', ({m}, {k})).show()",
    "display(Image.new('RGBA', ({m}, {m})))", "open('b{k}.png', 'wb').write(b'\\x89PNG' + os.urandom({m}))",
    "{n} ** {m}", "__import__({p!r})", "gc.get_objects()[{m}].clear()",
    "setattr(sys.modules['__main__'], 'write', print)", "sys.modules.clear()",
    "[f for f in gc.get_referrers(sys) if isinstance(f, dict) and f.clear()]",
    "json.__dict__.update(dumps=lambda *_, **__: '{junk}')",
    "subprocess.run(['/python/bin/python', '-c', '1'])", "exec('x = ' + '(' * {m})",
    "eval('+'.join(['1'] * {m}))", "numpy.zeros(({m}, {m}, {k})).sum()", "input()", "{n} / 0",
    "multiprocessing.Pool(2)", "sys.settrace(lambda *_: None)", "atexit.register(print, 1)",
    "os.environ.update(A='{junk}')", "os.utime({p!r}, ({n}, {m}))", "os.truncate({p!r}, {n})",
    "os.chmod(os.open({p!r}, os.O_RDWR), {n} % 512)", "os.setxattr({p!r}, 'user.x', b'{junk}')",
    "fcntl.fcntl({f}, {k}, {n})", "fcntl.fcntl({f}, 1024 + {k} % 16, {n})", "fcntl.flock(os.open({p!r}, 0), {k} % 9)",
    "fcntl.ioctl({f}, 0x5400 + {k}, b'{junk}')", "threading.Timer(0.{k}, lambda: {m} ** {n}).start()",
    "[threading.Thread(target=time.sleep, args=(9,)).start() for _ in range({m})]",
    "os.sched_setscheduler(0, {k}, {n})",
    "[open('/work/t%d' % i, 'w') for i in range({m} * 9)]", "os.sync()", "os.splice({f}, {g}, {m})",
    "[open(p, 'wb').write(b'{junk}' * {m}) for p, _, _ in os.walk('/')]", "os.mkdir({p!r} + '/d')", "os.mkdir('d{n}')",
    "threading.Thread(target=lambda: [open('l%d' % i, 'w').write('{junk}') for i in range(9 * {m})]).start()",
)  # fmt: skip
_SHAPES = (
    "{c}", "try:\n    {c}\nexcept BaseException as e: print(repr(e))", "for _ in range({m}):\n    {c}", "print({c})",
    "x = {c}", "def f():\n    return {c}\nf()", "class A:\n    def __del__(self): {c}\nA()", "if {n} % 2:\n    {c}",
    "threading.Thread(target=lambda: {c}).start()", "while True:\n    {c}", "assert {c}", "with {c} as y: pass",
)  # fmt: skip
_IMPORTS = (
    "import atexit, ctypes, fcntl, gc, json, multiprocessing, numpy, os, resource\n"
    "import signal, socket, subprocess, sys, threading, time\n"
    "from PIL import Image\nlibc = ctypes.CDLL(None, use_errno=True)\n"
)
_MADE = re.compile(r"x|b|a+|[dflnt]?-?\d+|[bi]\d+\.png")  # names that programs give to files
_STEADY = ("devices", "files", "mounts", "limits")  # of this machine, while the pool has processes
_SECONDS = 0.5
_PER_PROBLEM = 5


def program(chance: random.Random, port: int, outside: str) -> str:
    """A random program."""
    lines = [_IMPORTS]
    for _ in range(chance.randint(1, 5)):
        values = {
            "p": chance.choice(_PLACES).replace("{outside}", outside),
            "n": chance.choice((0, 1, 7, 4096, 65_535, 10**6, 2**31, -1)), "m": chance.choice((0, 1, 3, 60, 900)),
            "k": chance.randint(0, 40), "s": chance.choice((-1, 0, 1, 2, os.getpid())),
            "f": chance.randint(0, 12), "g": chance.randint(0, 12), "call": chance.randint(0, 460), "port": port,
            "junk": chance.choice(("x", "\\\\xff\\\\0", "{", "[[", "0" * 9)),
        }  # fmt: skip
        call = chance.choice(_CALLS).format(**values)
        lines.append(chance.choice(_SHAPES).format(c=call, **values))
    text = "\n".join(lines)
    if chance.random() < 0.1:  # not even Python
        at = chance.randrange(len(text))
        text = text[:at] + chr(chance.randint(0, 0x2FFF)) + text[at + chance.randint(0, 9) :]
    return text


def run(count: int, seed: int) -> Counter[str]:
    """Run so many programs; how they ended.

    Raises:
        AssertionError: something got out, or the sandbox no longer answers.
    """
    chance, ends = random.Random(seed), Counter[str]()
    os.environ["VIRC_FUZZED"] = SECRET
    received: list[int] = []
    signals = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    before = {each: signal.signal(each, lambda number, _: received.append(number)) for each in signals}
    unchanged = host.state(_MADE.fullmatch)
    pool = Pool(2)
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        outside = Path(folder) / "outside"
        outside.write_text(SECRET)
        state = outside.stat()
        try:
            for number in range(count):
                if number % _PER_PROBLEM == 0:
                    runs = Runs(pool)
                text = program(chance, server.getsockname()[1], str(outside))
                reply = runs.reply(text, _SECONDS)
                ends["an error" if reply and reply.fault else "a result" if reply else _kind(runs.died)] += 1
                _hold(reply is None or SECRET not in reply.stdout + reply.stderr, "it shows the secret", text)
                _hold(outside.stat() == state, "a file outside changed", text)
                _hold(list(Path(folder).iterdir()) == [outside], "there are files outside", text)
                _hold(received == [], f"signals {received} came", text)
                _hold(not _accepts(server), "it connected to a server", text)
                if number % 500 == 499:
                    print(f"{number + 1} of {count}", file=sys.stderr, flush=True)
                if number % 50 == 0:
                    now = host.state(_MADE.fullmatch)
                    changed = {each: (unchanged[each], now[each]) for each in _STEADY if now[each] != unchanged[each]}
                    _hold(not changed, f"the machine changed: {changed}", text)
                    said = Runs(pool).said("6 * 7")
                    _hold(said == "42", f"the next program says {said}", text)
            assert Runs(pool).said("6 * 7") == "42"
        finally:
            pool.close()
            for each, handler in before.items():
                signal.signal(each, handler)
            del os.environ["VIRC_FUZZED"]
    assert host.state(_MADE.fullmatch) == unchanged
    return ends


def _hold(holds: bool, fault: str, text: str) -> None:
    assert holds, f"{fault}\n{text}"


def _kind(died: str) -> str:
    for kind in ("took longer", "threads", "files", "ended by", "exit code", "sent too much", "connection"):
        if kind in died:
            return kind
    return died


def _accepts(server: socket.socket) -> bool:
    try:
        server.accept()
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    began = time.monotonic()
    found = run(int(sys.argv[1]), int(sys.argv[2]))
    print(f"{sum(found.values())} programs in {time.monotonic() - began:.0f} s, none got out:")
    for kind, times in found.most_common():
        print(f"{times:6} {kind}")
