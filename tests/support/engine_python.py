"""The interpreters of the engines' own environments."""

import os
from functools import cache
from pathlib import Path

import pytest

from virc.config import user
from virc.envs import environment as environments
from virc.envs.pins import everywhere


def interpreter(engine: str) -> Path:
    """The interpreter of an engine's environment, whichever device it is for; the test is skipped without one.

    Args:
        engine: `sft`, `rl`, `serve` or `eval`.
    """
    cache = user.cache_folder(os.environ)
    found = (environments.interpreter(each) for each in everywhere(cache) if each.engine.name == engine)
    python = next((each for each in found if each), None)
    if python is None:
        pytest.skip(f"there is no environment for it: virc env create {engine}")
    return python


@cache
def code() -> Path:
    """The copy of this package that runs of engines get: with extras, which a clone names in its metadata alone."""
    return environments.recipes_in(next(iter(everywhere(user.cache_folder(os.environ)))))
