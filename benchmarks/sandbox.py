"""How long a problem waits for its sandbox: from the warm pool, one after the other and many at once, and cold.

PYTHONPATH=recipes:tests python benchmarks/sandbox.py [PROBLEMS]
"""

import os
import sys
import threading
import time
from statistics import median, quantiles

from support.sandboxed import SMALL, Runs, pool_of

from virc_extras.sandbox.child import Child

PAUSE = 0.5  # seconds between two problems, as a model needs many more for a reply


def timed(runs: Runs) -> float:
    """Milliseconds until a first piece of code of a problem is back."""
    began = time.perf_counter()
    assert runs.said("1 + 1") == "2"
    return (time.perf_counter() - began) * 1000


def row(name: str, times: list[float]) -> None:
    """Print the median, the 95th percentile and the most of times in ms."""
    print(f"{name:<44} {median(times):7.1f} {quantiles(times, n=20)[-1]:7.1f} {max(times):7.1f}")


def cold() -> float:
    """Milliseconds until a process that nobody started ahead is ready."""
    began = time.perf_counter()
    child = Child(SMALL)
    child.ready()
    found = (time.perf_counter() - began) * 1000
    child.kill()
    return found


def main(problems: int) -> None:
    """Measure, and print a table."""
    print(f"{problems} problems, {os.cpu_count()} cores{'':<18} median    95 %    most ms")
    row("cold start", [cold() for _ in range(problems)])
    with pool_of(4) as pool:
        pool.warm(SMALL)
        time.sleep(2)
        times, everyone = [], []
        for _ in range(problems):
            everyone.append(Runs(pool))
            times.append(timed(everyone[-1]))
            time.sleep(PAUSE)
        row(f"from the warm pool, one every {PAUSE:g} s", times)
        row("next call of the same problem", [timed(runs) for runs in everyone[-30:]])
    with pool_of(4) as pool:
        pool.warm(SMALL)
        time.sleep(2)
        times = []
        threads = [threading.Thread(target=lambda: times.append(timed(Runs(pool)))) for _ in range(problems)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        row("all at once, 4 running", times)
        print(f"{'problems per second, all at once':<44} {problems / (time.perf_counter() - began):7.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
