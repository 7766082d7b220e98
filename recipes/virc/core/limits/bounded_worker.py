"""The program of the processes of `bounded`: one question per line, one answer per line, by the functions of a file.

It is started by its path and imports nothing of this package. What it reads is hostile: a question may loop, take all
memory or end the interpreter; the process ends then, and another one is started.
"""

import json
import os
import runpy
import signal
import sys
from pathlib import Path

_MAX_AFTERWARDS = 2**29  # bytes of memory after a question; a process that keeps more ends


def main(file: str) -> None:
    """Answer each question within its seconds of CPU time."""
    answers, sys.stdout = sys.stdout, sys.stderr
    program = runpy.run_path(file, run_name="__main__")
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (program["MAX_BYTES"], resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        function, seconds, *arguments = json.loads(line)  # in a time that its length bounds
        limit_cpu_time(seconds)
        try:
            answer = program[function](*arguments)
        except BaseException:  # no memory, or a panic in a library of Rust: the process is not to be used again
            return
        limit_cpu_time(0)
        print(json.dumps(answer), file=answers, flush=True)
        if sys.platform == "linux":
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            if pages * os.sysconf("SC_PAGE_SIZE") > _MAX_AFTERWARDS:
                return


def limit_cpu_time(seconds: float) -> None:
    """End this process by SIGPROF, which has no handler, after `seconds` of CPU time; 0: do not."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_PROF, seconds)


if __name__ == "__main__":
    main(sys.argv[1])
