"""Programs that not every system has."""

import shutil

import pytest


def needs(*names: str, package: str | None = None) -> pytest.MarkDecorator:
    """Skip a test where no program of these names is on the PATH; a suite of `.ci/full` fails by this reason."""
    reason = f"{names[0]} is not installed: apt-get install {package or names[0]}"
    return pytest.mark.skipif(not any(map(shutil.which, names)), reason=reason)
