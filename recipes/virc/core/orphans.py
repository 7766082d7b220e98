"""What becomes of a process whose parent is killed.

`python -m virc.core.orphans MODULE [ARGUMENT...]` runs a module that may not heed a SIGTERM, as vLLM does not while
its engine starts: where that is not enough, its whole process group is killed.
"""

import ctypes
import os
import runpy
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
_LOOK, _GRACE = 1.0, 10.0  # seconds between two looks, and from the end of the parent to that of the group


def end_with_parent() -> None:
    """Ask the kernel for a SIGTERM to this process when its parent is killed; elsewhere than on Linux, nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def adopt_orphans() -> None:
    """Ask the kernel to make this process the parent of descendants whose own has ended; elsewhere, nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_group_with_parent() -> None:
    """Kill the process group that this process leads, some seconds after its parent has ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK)
        time.sleep(_GRACE)
        os.killpg(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    name = sys.argv.pop(1)
    end_group_with_parent()
    runpy.run_module(name, run_name="__main__", alter_sys=True)
