"""The benchmark of docs/performance.md runs, with its own server, and measures all ways."""

import subprocess
import sys

import pytest
from downloads import ROOT


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="wait4 is needed")
def test_the_benchmark_compares_with_curl() -> None:
    words = [sys.executable, ROOT / "benchmarks" / "download.py", "8", "2"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    assert {"| curl -o", "| virc"} <= {row[0] for row in rows}
    assert all(float(row[1].removesuffix(" s")) > 0 for row in rows)
