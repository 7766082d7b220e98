"""Fixtures that several areas share."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from virc_recipes import tools
from virc_recipes.reasoning.protocol import Protocol, own_protocol

# A job in the background begins with Ctrl-C ignored, and so would every program that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long a case takes says nothing on a machine that others use too.
settings.register_profile("virc", deadline=None)
settings.load_profile("virc")

ROOT = Path(__file__).resolve().parents[1]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Fast tests run on all cores, slow ones one by one, those of engines by twos: a run that starts needs one core.

    By twos even on more cores: each takes gigabytes. What is recorded is written to one file, so one by one too.
    """
    if _engines(config):
        return 0 if os.environ.get("VIRC_RECORD") == "1" else 2
    return None if "not slow" in config.getoption("markexpr") else 0


def _engines(config: pytest.Config) -> bool:
    """Whether engine tests were asked for: `-m engine`, with or without more words."""
    return "engine" in config.getoption("markexpr").replace("not engine", "").split()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Engine tests of one file stay in one process: runs that they share take minutes. Of others, what xdist takes."""
    if not _engines(config):
        return None
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

    return LoadFileScheduling(config, log)


@pytest.fixture(scope="session")
def sample() -> Path:
    """The folder of the published sample: VIRC_SAMPLES, else shared/samples/virc beside the repository."""
    folder = Path(os.environ.get("VIRC_SAMPLES") or ROOT.parent / "shared" / "samples" / "virc")
    if not (folder / "conversation.json").is_file():
        pytest.skip(f"the published sample is not at {folder}: set VIRC_SAMPLES to its folder")
    return folder


@pytest.fixture(scope="session")
def own() -> Protocol:
    """This project's own wording with all three tools, in pixels."""
    return own_protocol(tools.schemas(["crop_image", "scale_image", "display_image"]))
