"""A benchmark of an installed package is found by its entry point."""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.called import virc
from support.servers import MODEL, serve
from support.solving import answer

from virc.core import entry_points
from virc.download.benchmarks import installed, names
from virc.download.wanted import DownloadConfig, resolve_requests

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "evaluation.md").read_text()
MODULE = next(each for each in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "HUB = None" in each)
HUB = MODULE.replace("HUB = None", 'HUB = "me/signs"')


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder like site-packages with a package that has the benchmarks `signs` and `diagrams`."""
    folder = tmp_path / "site"
    (info := folder / "sign_pack-1.0.dist-info").mkdir(parents=True)
    info.joinpath("entry_points.txt").write_text("[virc.benchmarks]\nsigns = sign_pack\ndiagrams = sign_pack\n")
    monkeypatch.syspath_prepend(folder)
    yield folder
    sys.modules.pop("sign_pack", None)
    for found in (entry_points.modules, entry_points.own):
        found.cache_clear()


def install(site: Path, text: str) -> None:
    (site / "sign_pack.py").write_text(text)
    for found in (entry_points.modules, entry_points.own):
        found.cache_clear()


def test_it_is_listed_and_scored_by_its_own_rule(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, MODULE.replace("answer.strip() ==", "answer.strip()[::-1] =="))
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "docs" / "pictures" / "figure.png", tmp_path)
    assert getattr(installed("diagrams"), "COUNT", None) == 500
    assert "signs" in names()
    assert "sign_pack" not in sys.modules
    with serve([answer("37")]) as server:
        done = virc("eval", "signs", "--endpoint", server.url, "--concurrency", 1, "--json")
    assert (done.code, done.json["benchmark"], done.json["models"][0]["score"]["right"]) == (0, "signs", 2)
    lines = (tmp_path / "evals" / "signs" / "answers" / f"{MODEL}.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [1, 2]


def test_its_dataset_is_looked_for_and_downloaded_by_its_name(site: Path) -> None:
    install(site, HUB)
    done = virc("eval", "signs", "--endpoint", "http://127.0.0.1:9/v1")
    assert "the benchmark signs is not on this machine\nhint: virc download eval signs" in done.err
    for words in (("eval", "signs"), ("signs",)):
        (request,) = resolve_requests(DownloadConfig(words))
        assert (request.repo.id, request.folder) == ("me/signs", Path("data/signs"))


@pytest.mark.parametrize(
    ("text", "reason"), [("1/0", "ZeroDivisionError: division by zero"), ("HUB = None", "has no attribute 'SPLITS'")]
)
def test_one_that_cannot_be_loaded_is_named_with_its_package(text: str, reason: str, site: Path) -> None:
    install(site, text)
    done = virc("eval", "signs", "--endpoint", "http://127.0.0.1:9/v1")
    assert done.code == 3
    assert "the benchmark signs of the installed package sign-pack cannot be loaded" in done.err
    assert reason in done.err
    assert "pip uninstall sign-pack" in done.err
