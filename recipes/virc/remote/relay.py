"""Runs an MCP server's command and passes its lines on; run by itself, not imported.

Messages are JSON objects: any other line goes to stderr.
A line that is too long is not read to its end: the server is ended. It is ended too when the parent is gone.
"""

import os
import subprocess
import sys
import threading
import time

NOT_JSON = "not JSON: "
"""What stands before a line of the server's output on stderr."""


def main() -> int:
    """Arguments: the most bytes of a line, and the command with its arguments. Returns the server's exit code."""
    most, parent = int(sys.argv[1]), os.getppid()
    server = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE)
    assert server.stdout
    threading.Thread(target=_end_with, args=(parent, server), daemon=True).start()
    while line := server.stdout.readline(most):
        if len(line) == most:
            sys.stderr.write("a line of the server is too long\n")
            server.kill()
            break
        if line.lstrip().startswith(b"{"):
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
        elif line.strip():
            sys.stderr.buffer.write(NOT_JSON.encode() + line)
            sys.stderr.buffer.flush()
    return server.wait()


def _end_with(parent: int, server: "subprocess.Popen[bytes]") -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    server.kill()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
