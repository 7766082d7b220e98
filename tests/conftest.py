"""Fixtures that several areas share."""

import os
import signal
from pathlib import Path

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
    """The fast suite runs on all cores; slow and engine tests keep them busy by themselves, one after the other."""
    return None if "not slow" in config.getoption("markexpr") else 0


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
