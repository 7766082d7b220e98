"""Seconds until a page of 2,000 problems of three models has opened in Chromium.

PYTHONPATH=.:recipes:tests:tests/evaluation python benchmarks/problem_page.py
"""

import statistics
import tempfile
import time
from pathlib import Path

import paged
from support.browser import Tab, tab

LINES = ["RRr", "RwW", "wRu", "rRR", "WWw", "uRR", "nrR", "wwR"] * 250
THOUGHT = "The sign is small, so I look at it closer before I answer. " * 20  # 1.2 kB a reply
ACTIONS = {
    "a filter": "document.getElementById('disagree').click()",
    "a search": "const field = document.getElementById('search'); field.value = 'sign 1993'; field.oninput()",
}
STATE = "[document.querySelectorAll('*').length, document.images.length]"


def _busy(browser: Tab) -> float:
    """Seconds that the thread of the page has worked, whatever else the machine does."""
    metrics = {each["name"]: each["value"] for each in browser.call("Performance.getMetrics")["metrics"]}
    return float(metrics["TaskDuration"])


with tempfile.TemporaryDirectory() as made:
    begun = time.perf_counter()
    page = paged.make(Path(made), LINES, ("one", "other", "third"), thought=THOUGHT)
    print(f"made in {time.perf_counter() - begun:.1f} s, {page.stat().st_size / 1e6:.1f} MB")
    with tab(Path(made) / "profile") as browser:
        seconds = []
        browser.call("Performance.enable", timeDomain="threadTicks")
        for _ in range(5):
            begun = time.perf_counter()
            browser.open(page, 1400)
            browser.until("document.querySelector('#rows a[aria-current]') !== null")
            seconds.append(time.perf_counter() - begun)
            print(f"{_busy(browser):.2f} s of its thread, {seconds[-1]:.2f} s")
        nodes, pictures = browser.value(STATE)
        print(f"opened in {statistics.median(seconds):.2f} s (median): {nodes} elements, {pictures} pictures")
        for name, action in ACTIONS.items():
            took = browser.value(
                f"(() => {{ const begun = performance.now(); {action}; return performance.now() - begun }})()"
            )
            print(f"{name}: {took:.0f} ms, {browser.value('document.getElementById(`count`).textContent')}")
