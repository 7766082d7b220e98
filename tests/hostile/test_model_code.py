"""Code that a model writes, run by `virc solve`: it gets nothing, changes nothing, and does nothing after its call."""

import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from support import host, secrets, servers
from support.solving import answer, call, picture

pytestmark = pytest.mark.integration

PROGRAMS: Mapping[str, tuple[str, str]] = {
    "work after the call": (
        "def later():\n"
        "    time.sleep(0.1)\n"
        "    for each in range(4000): open(f'later-{each}', 'w').close()\n"
        "    for _ in range(500): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n"
        "    while True: pass\n"
        "for _ in range(8): threading.Thread(target=later, daemon=True).start()",
        "",
    ),
    "threads that it starts": ("time.sleep(9)", "more than 64 threads|more than 5000 files|processor time"),
    "devices": (
        "for name in os.listdir('/dev'):\n"
        "    for act in (lambda p: os.chmod(p, 0o606), lambda p: os.utime(p, (1, 1)), lambda p: os.chown(p, 1, 1),\n"
        "                os.unlink, lambda p: os.rename(p, p + 'x'), lambda p: os.truncate(p, 0)):\n"
        "        with suppress(OSError): act(f'/dev/{name}')\n"
        "print(sorted(os.listdir('/dev')))",
        r"^\['null', 'random', 'urandom', 'zero'\]$",
    ),
    "files of the user": ("tried(*(lambda place=place: os.listdir(place) for place in PLACES))", "^2(\n2)*$"),
    "other programs": (
        "tried(os.fork, lambda: os.execv(sys.executable, ['python']), lambda: subprocess.run(['ls']),\n"
        "      lambda: socket.create_connection(('127.0.0.1', PORT), 1), lambda: socket.socket(socket.AF_UNIX))\n"
        "print([p for a, _, c in os.walk('/') for b in c if os.lstat(p := os.path.join(a, b)).st_mode & 0o6000])",
        r"^1\n1\n1\n1\n1\n\[\]$",
    ),
    "keys": ("print(sorted({*os.environ} & KEYS))", r"^\[\]$"),
    "files everywhere": (
        "written = 0\n"
        "for top, _, _ in os.walk('/'):\n"
        "    with suppress(OSError):\n"
        "        for number in range(40):\n"
        "            with open(os.path.join(top, f'{MARK}-{number}'), 'wb', 0) as file:\n"
        "                for _ in range(8): written += file.write(bytes(1 << 20))\n"
        "print(written >> 20)",
        "^6[0-4]$",
    ),
}
"""What the code does -> the program, and a pattern of what is said of it."""


def known(port: int, home: Path) -> str:
    """What each program is told of the test."""
    places = ("/etc", "/root", "/home", "/var", "/proc", "/sys", str(Path(__file__).parent), str(home))
    return (
        "import os, socket, subprocess, sys, threading, time\nfrom contextlib import suppress\n"
        f"KEYS, MARK, PLACES, PORT = {set(secrets.KEYS)!r}, {host.MARK!r}, {places!r}, {port}\n"
        "def tried(*acts):\n"
        "    for act in acts:\n"
        "        try: print('got', act())\n"
        "        except OSError as error: print(error.errno)\n"
    )


def busiest() -> tuple[int, int]:
    """Threads of the process in the sandbox that has the most, and its CPU time in ticks."""
    found = [(0, 0)]
    for pid in host.descendants():
        with suppress(OSError):
            if b"/runner.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                found.append((int(fields[17]), int(fields[11]) + int(fields[12])))
    return max(found)


def test_a_model_gets_nothing_out_of_the_sandbox(home: host.Home, tmp_path: Path) -> None:
    said: list[str] = []
    seen: list[tuple[int, int]] = []

    def turn(body: servers.Body) -> str:
        at, content = servers.turn_of(body), body["messages"][-1]["content"]
        said.append(content if isinstance(content, str) else "".join(part.get("text", "") for part in content))
        if at == 1:  # between two calls
            seen.append(busiest())
            time.sleep(0.5)
            seen.append(busiest())
        codes = [code for code, _ in PROGRAMS.values()]
        return call("python", code=before + codes[at]) if at < len(codes) else answer("7")

    with servers.serve(turn) as server:
        before = known(server.server_address[1], home.folder)
        words = ("--endpoint", server.url, "--tools", "+python", "--json")
        done = home.run("solve", picture(tmp_path / "a.png"), "?", *words)
        assert server.accepted <= len(server.requests) + server.about_boxes
    assert done.json["answer"] == "7", done
    for (what, (_, pattern)), text in zip(PROGRAMS.items(), said[1:], strict=True):
        assert re.search(pattern, text.strip(), re.MULTILINE), f"{what}: {text}"
    assert seen[0][0] > 8
    assert seen[1] == seen[0]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("open('/etc/passwd')", "FileNotFoundError"),
        ("import os\nos.fork()", "PermissionError"),
        ("[0] * 2**40", "MemoryError"),
    ],
)
def test_a_tool_that_is_tried_runs_in_the_sandbox(home: host.Home, tmp_path: Path, code: str, says: str) -> None:
    words = ("--arguments", json.dumps({"code": code}))
    assert says in home.run("tools", "try", "python", picture(tmp_path / "a.png"), *words).out


def test_without_a_sandbox_each_command_warns_and_leaves_no_folder(home: host.Home, tmp_path: Path) -> None:
    words = ("python", picture(tmp_path / "a.png"), "--arguments", json.dumps({"code": "open('a', 'w').write('b')"}))
    done = home.run("tools", "try", *words, VIRC_UNSAFE_PYTHON="1")
    assert (done.code, "VIRC_UNSAFE_PYTHON" in done.err) == (0, True), done
    assert home.left() == []
