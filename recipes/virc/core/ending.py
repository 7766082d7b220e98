"""How this process ends while a library works on in threads that nothing can stop."""

import os
import sys
import threading
import time
from collections.abc import Iterable

code = 1
"""Exit code of this process, once it is known."""


def join_or_leave(threads: Iterable[threading.Thread], seconds: float) -> None:
    """Wait for threads; end the process at once where they take longer.

    To be called when Python ends: it would end them in the midst of C++ code, which aborts the process.
    """
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
        if thread.is_alive():
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
