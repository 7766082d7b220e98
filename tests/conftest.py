"""Fixtures that several areas share."""

import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from virc.reasoning.protocol import Protocol, own_protocol
from virc.tools import registry as tools

# The tests' own files and names are UTF-8 in any locale: the workers, and what they start, run in UTF-8 mode.
os.environ["PYTHONUTF8"] = "1"

# Where it is set, as in many images, each of thousands of processes would compile what it imports anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A job in the background begins with Ctrl-C ignored, and so would every program that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

try:
    from hypothesis import settings
except ImportError:  # tests/gpu runs without the extra `dev`
    pass
else:  # how long a case takes says nothing on a machine that others use too
    settings.register_profile("virc", deadline=None)
    settings.load_profile("virc")

ROOT = Path(__file__).resolve().parents[1]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Tests run on all cores; slow ones and those of engines by twos, as a run that starts needs one core.

    By twos even on more cores: each takes gigabytes. What is recorded is written to one file, and an accelerator is
    for one at a time, so those run one by one.
    """
    if os.environ.get("VIRC_RECORD") == "1" or config.getoption("markexpr") == "gpu":
        return 0
    return None if _fast(config) else 2


_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**28)}
"""Pictures of megabytes come and go: a process that gives each back to the system spends its time on page faults."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """The processes that run tests keep freed memory; glibc reads this when they start."""
    os.environ.update(_MALLOC)


if "PYTEST_XDIST_WORKER" in os.environ:  # what tests start is as users start it
    for _variable in _MALLOC:
        os.environ.pop(_variable, None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Slow tests of one file, and those of engines, stay in one process: runs that they share take minutes."""
    if _fast(config):
        return None
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

    return LoadFileScheduling(config, log)


def _fast(config: pytest.Config) -> bool:
    """Whether neither slow tests nor those of engines were asked for; none are where no mark is given."""
    chosen = config.getoption("markexpr")
    return "not slow" in chosen or "integration" in chosen


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail what imports torch or transformers while it is collected: that takes each worker ten seconds and more."""
    before = set(sys.modules)
    report = yield
    heavy = sorted({"torch", "transformers"} & (sys.modules.keys() - before))
    if heavy and report.passed:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} imports {' and '.join(heavy)}: import in the test or the fixture"
    return report


@pytest.fixture(scope="session", autouse=True)
def _package_is_hashed_once() -> Iterator[None]:
    """Hash this package, 700 files, once in a process: each dry run of training asks for its place in the cache."""
    from virc.envs import environment

    placed, own, known = environment.recipes_place, environment._PACKAGE, dict[Path, Path]()

    def place(made: environment.Environment, package: Path = own) -> Path:
        folder = made.folder.parent
        if package != own:
            return placed(made, package)
        if folder not in known:
            known[folder] = placed(made, own)
        return known[folder]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(environment, "recipes_place", place)
        yield


@pytest.fixture(scope="session")
def sample() -> Path:
    """The folder of the published sample: VIRC_SAMPLES, else shared/samples/virc beside the repository."""
    folder = Path(os.environ.get("VIRC_SAMPLES") or ROOT.parent / "shared" / "samples" / "virc")
    if not (folder / "conversation.json").is_file():
        pytest.skip(f"the published sample is not at {folder}: set VIRC_SAMPLES to its folder")
    return folder


@pytest.fixture(scope="session")
def own() -> Protocol:
    """This project's own chat protocol with all three tools, in pixels."""
    return own_protocol(tools.schemas(["crop_image", "scale_image", "display_image"]))
