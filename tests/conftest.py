"""Fixtures that several areas share."""

import gc
import hashlib
import importlib
import io
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import drawn_sample, secrets

from virc.core import options
from virc.core.work.parallel import cores
from virc.reasoning.protocol import Protocol, own_protocol
from virc.tools import registry as tools

# The tests' own files and names are UTF-8 in any locale: the workers, and what they start, run in UTF-8 mode.
os.environ["PYTHONUTF8"] = "1"

# Where it is set, as in many images, each of thousands of processes would compile what it imports anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Systems are tested with our own words: the texts of their authors are not in this repository.
os.environ.setdefault("VIRC_OWN_WORDS", "1")

# A job in the background begins with Ctrl-C ignored, and so would every program that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

try:
    from hypothesis import HealthCheck, settings
except ImportError:  # tests/gpu runs without the extra `dev`
    pass
else:  # how long a case takes says nothing on a machine that others use too
    _UNTIMED: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}
    settings.register_profile("default suite", max_examples=25, **_UNTIMED)
    settings.register_profile("night", max_examples=500, **_UNTIMED)

ROOT = Path(__file__).resolve().parents[1]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Tests run on all cores, and the default suite in one more process, as a third of its time is waiting; slow ones
    and those of engines by twos, as a run that starts needs one core.

    By twos even on more cores: each takes gigabytes. What is recorded is written to one file, and an accelerator is
    for one at a time, so those run one by one.
    """
    if os.environ.get("VIRC_RECORD") or config.getoption("markexpr") == "gpu":
        return 0
    if "not integration" in config.getoption("markexpr"):
        return cores() + 1
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
    """Slow tests of one file, and those of engines, stay in one process: runs that they share take minutes. Stages of
    published systems share none.

    Where all tests are collected, each process collects its files alone.
    """
    if _whole(config):
        from support.apart import Apart

        return Apart(config, log)
    if _fast(config):
        return None
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

    class ByFile(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return nodeid if "test_stages_in_engines" in nodeid else str(super()._split_scope(nodeid))

    return ByFile(config, log)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave a file to the process that it is for."""
    if "PYTEST_XDIST_WORKER" not in os.environ or not _whole(config) or not collection_path.name.startswith("test_"):
        return None
    return collection_path not in _own_files() or None


def _whole(config: pytest.Config) -> bool:
    """Whether the default suite is asked for, all of it."""
    return "not integration" in config.getoption("markexpr") and config.args == config.getini("testpaths")


@cache
def _own_files() -> frozenset[Path]:
    from support.apart import files_of

    number, count = os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"), os.environ["PYTEST_XDIST_WORKER_COUNT"]
    return files_of(ROOT / "tests", int(number), int(count))


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


def pytest_configure(config: pytest.Config) -> None:
    """Choose how many cases hypothesis draws, and put keys into the environment.

    No keys where clusters and engines run, whose tests count the keys that they set.
    """
    if "hypothesis" in sys.modules:
        settings.load_profile("default suite" if "not integration" in config.getoption("markexpr") else "night")
    if _fast(config):
        os.environ.update(secrets.KEYS)
    else:  # Ray would end its workers where other tests fill the memory; the system does so where it is full
        os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect no garbage while 15,000 tests are made, all of which stay; nor go through them later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _command_line() -> Iterator[None]:
    """Errors are shown as on the command line, in tests of rooms, too."""
    with options.shown_by(options.on_command_line):
        yield


@pytest.fixture(scope="module", autouse=True)
def _libraries_are_no_garbage() -> Iterator[None]:
    """Keep what is there after a module out of later collections: to go through torch takes one a second."""
    yield
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Fail a test that left a key in a file: in a trace, a run, a page, a log, a core file."""
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    leaks = [] if folder is None else secrets.files_with_keys(folder)
    assert not leaks, f"keys were written to {leaks}"


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


@pytest.fixture(autouse=True)
def pauses(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were to pass before something is tried again; none of them does, but in tests that take long."""
    from virc.core import retry

    asked = list[float]()
    retry.pace_of.cache_clear()  # the next server may get the same port
    if not any(map(request.node.get_closest_marker, ("slow", "engine", "record", "gpu"))):
        monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=time.monotonic, sleep=asked.append))
    return asked


_PREFLIGHT = "virc.training.preflight.process"


@pytest.fixture(scope="session", autouse=True)
def _rows_are_checked_here(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check a stage's rows in this process, where a dry run would start an interpreter for it, which takes seconds.

    Tests of that process start it, and so do those marked `integration`.
    """
    from virc.core import processes

    started = processes.output

    def output(step: Any, on_line: Callable[[str], None] = lambda line: None) -> str:
        if step.argv[1:3] != ("-m", _PREFLIGHT):
            return started(step, on_line)
        told, printed = io.StringIO(), io.StringIO()
        with redirect_stderr(told), redirect_stdout(printed):
            importlib.import_module(_PREFLIGHT).main([*step.argv[3:]])
        for line in told.getvalue().splitlines():
            on_line(line)
        return printed.getvalue()

    with pytest.MonkeyPatch.context() as patched:
        if "not integration" in request.config.getoption("markexpr"):
            patched.setattr(processes, "output", output)
        yield


@pytest.fixture(autouse=True)
def _cached_alone(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep the last answer and what is found of endpoints and pictures for its test alone: a port is used again."""
    from virc.data.rows import remembered
    from virc.probing import result
    from virc.solving.traces import continuing

    remembered.close()
    marks = {mark.name for mark in request.node.iter_markers()}
    if not marks & {"integration", "engine", "gpu"}:  # whose environments of engines are in the user's cache
        name = hashlib.blake2b(request.node.nodeid.encode(), digest_size=8).hexdigest()
        monkeypatch.setenv("VIRC_CACHE", str(tmp_path_factory.getbasetemp() / f"cache-{name}"))  # for processes, too
    placed, own = result.cache_folder, list[Path]()

    def place(environment: Mapping[str, str]) -> Path:
        if not own:
            own.append(tmp_path_factory.mktemp("cache"))
        return placed(environment) if environment.get("VIRC_CACHE") else own[0]

    for module in (result, continuing, remembered):
        monkeypatch.setattr(module, "cache_folder", place)


@pytest.fixture(scope="session", params=["drawn", "published"])
def sample(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a drawn sample, and of the published one: VIRC_SAMPLES, or shared/samples/virc beside the checkout.

    Where the published one is not there, the drawn one stands for both.
    """
    published = Path(os.environ.get("VIRC_SAMPLES") or ROOT.parent / "shared" / "samples" / "virc")
    if request.param == "published" and (published / "conversation.json").is_file():
        return published
    return drawn_sample.draw(tmp_path_factory.mktemp("sample"))


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the proxies of the machine that the tests run on, and the list of hosts without one."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small sums on a machine that others use: a second thread only waits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def own() -> Protocol:
    """This project's own chat protocol with all three tools, in pixels."""
    return own_protocol(tools.schemas(["crop_image", "scale_image", "display_image"]))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A tab of a browser, for tests that are skipped where there is none."""
    from support.browser import tab

    with tab(tmp_path_factory.mktemp("profile")) as opened:
        yield opened
