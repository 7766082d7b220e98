"""The site as its readers use it: tasks found in two clicks, by mouse or keyboard, on a screen or a phone."""

import os
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import pytest
from code_blocks import ROOT
from support.browser import Tab, in_browser

pytestmark = [
    pytest.mark.integration,
    in_browser,
    pytest.mark.skipif(find_spec("material") is None, reason="needs the extra docs"),
]

TASKS = [
    ("by vote", "strategies", "Majority", "majority:n=8"),
    ("many from a file", "batch", "Answers", "--to"),
    ("use Ollama", "servers", "Ollama", "config set endpoint http://localhost:11434/v1"),
    ("a script or Python", "python", "Many problems", "virc.batch("),
    ("an agent for any OpenAI client", "serving", "An agent for any client", "--agent"),
    ("any MCP client", "MCP", "Over HTTP", "--http"),
    ("see whether they use their crops", "studies", "Does it look", "--looks"),
    ("convert or draw data", "data", "Convert, select and mix", "virc data convert"),
    ("on one GPU or a cluster", "training", "On a cluster", "--launcher slurm"),
    ("publish a model", "publish", "The card", "license: apache-2.0"),
    ("write my own reward", "rewards and tools", "Write a reward", "total: ./mine.py"),
    ("look up commands", "reference", "Exit codes", "environment or hardware"),
]
"""Words of a row in README's table, the link there, a link on its page, and what has to be in view then."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the built site."""
    folder = tmp_path_factory.mktemp("site")
    env = {**os.environ, "REPOSITORY_URL": "https://github.com/owner/virc"}
    subprocess.run(["bash", ROOT / ".ci/site", folder], env=env, check=True, capture_output=True)
    serve = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def follow(browser: Tab, links: str, text: str) -> None:
    """Open what the first visible one of some links with a text leads to."""
    link = f"{links}.find(each => each.checkVisibility() && each.innerText.trim() === {text!r})"
    target = browser.value(f"{link}?.href")
    assert target, f"no link {text}"
    if browser.value(f"{link}.pathname === location.pathname"):
        browser.value(f"{link}.click()")
    else:
        browser.open(target, 1400)


@pytest.mark.parametrize(("words", "first", "second", "answer"), TASKS, ids=[task[0] for task in TASKS])
def test_a_task_is_found_from_the_first_page_in_two_clicks(
    browser: Tab, site: str, words: str, first: str, second: str, answer: str
) -> None:
    browser.open(site, 1400)
    row = f"[...document.querySelectorAll('tr')].find(each => each.cells[0].innerText.includes({words!r}))"
    follow(browser, f"[...{row}.querySelectorAll('a')]", first)
    follow(browser, "[...document.querySelectorAll('a')]", second)
    browser.until(
        f"[...document.querySelectorAll('code, td')].some(each => each.innerText.includes({answer!r})"
        " && each.getBoundingClientRect().top > 40 && each.getBoundingClientRect().top < innerHeight)"
    )


def test_a_page_loads_nothing_from_elsewhere(browser: Tab, site: str) -> None:
    browser.open(site, 1400)
    browser.until("document.readyState === 'complete' && document.querySelector('a[title=Source]') !== null")
    loaded = browser.value("performance.getEntriesByType('resource').map(each => each.name)")
    assert [each for each in loaded if not each.startswith(site)] == []
