"""Engines are listed once a process; tests that put a toy in their place leave the list as it was."""

from collections.abc import Iterator

import pytest

from virc.envs import pins as envs


@pytest.fixture(autouse=True)
def _listed_anew() -> Iterator[None]:
    yield
    envs.discover.cache_clear()
