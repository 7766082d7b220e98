"""Fetches one file in a process of its own: `python fetch_child.py KILL_AT REPO COMMIT NAME SIZE SHA256 TO WORK PART`.

It kills itself at a moment: the opening, renaming or removal of one of its files, or the time before or after an
fsync. KILL_AT is how many moments come before, or the name of an audit event. Ctrl-C and SIGTERM end it as they end
the command; then it prints how many seconds that took, and how many threads are left.
"""

import os
import signal
import sys
import threading
from pathlib import Path

from virc.download.hub.ranged import fetch_large
from virc.download.hub.repository import File, Repo


def kill_at(which: str, work: str) -> None:
    """Kill this process at that moment."""
    left, lock, fsync = int(which) if which.isdecimal() else -1, threading.Lock(), os.fsync

    def moment(name: str) -> None:
        nonlocal left
        with lock:
            left -= 1
            if left == 0 or name == which:
                os.kill(os.getpid(), signal.SIGKILL)

    def heard(event: str, args: tuple[object, ...]) -> None:
        if event in ("open", "os.rename", "os.remove") and work in str(args[0]):
            moment(event)

    def watched(descriptor: int) -> None:
        moment("before fsync")
        fsync(descriptor)
        moment("after fsync")

    sys.addaudithook(heard)
    os.fsync = watched  # type: ignore[assignment]  # of a descriptor alone


def main(which: str, repo: str, commit: str, name: str, size: str, sha256: str, *rest: str) -> int:
    to, work, part = rest
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    kill_at(which, work)
    try:
        fetch_large(Repo(repo), commit, File(name, int(size), sha256), Path(to), Path(work), part=int(part))
    except KeyboardInterrupt:
        print(threading.active_count(), flush=True)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
