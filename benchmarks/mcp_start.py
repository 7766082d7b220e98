"""How long an MCP client waits for `virc mcp`: `python benchmarks/mcp_start.py [ROUNDS]`.

Wall time from the start of a process to its answers to `initialize` and `tools/list` over stdio, beside the start of
`virc --version`, of a bare interpreter, and of a process that imports the parts of the SDK that a server over stdio
needs.
"""

import json
import subprocess
import sys
import time
from statistics import median
from typing import Any

from throughput import ENV, VIRC

SDK = "import mcp.server.lowlevel, mcp.server.stdio"
CLIENT = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "start", "version": "1"}}
REQUESTS: list[dict[str, Any]] = [
    {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": CLIENT},
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
]


def served() -> float:
    """Seconds until the list of tools has come."""
    began = time.perf_counter()
    with subprocess.Popen(
        [*VIRC, "mcp"], env=ENV, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"".join(json.dumps(request).encode() + b"\n" for request in REQUESTS))
        process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for _ in range(2)]
        took = time.perf_counter() - began
        process.stdin.close()
    assert answers[-1]["result"]["tools"]
    return took


def ended(words: list[str]) -> float:
    """Seconds of a process to its end."""
    began = time.perf_counter()
    subprocess.run(words, env=ENV, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main(rounds: int = 7) -> None:
    """Print the medians; all in turns, so that a busy machine slows all."""
    calls = {
        "virc mcp, tools listed": served,
        "import of the SDK alone": lambda: ended([sys.executable, "-c", SDK]),
        "python -c pass": lambda: ended([sys.executable, "-c", "pass"]),
        "virc --version": lambda: ended([*VIRC, "--version"]),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(call())
    of_sdk = median(times["import of the SDK alone"])
    for name, took in times.items():
        print(f"{name:26} {median(took) * 1000:5.0f} ms, {median(took) / of_sdk:.2f} of the SDK's import")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
