"""Engines of an agent endpoint."""

from collections.abc import Iterator

import pytest
from agent_server import Held, Running


@pytest.fixture
def held() -> Iterator[Held]:
    found = Held()
    yield found
    found.go.set()


@pytest.fixture
def running(endpoint: Running) -> Running:
    """The endpoint of the module; its engine has been asked nothing yet."""
    endpoint.behind.requests.clear()
    return endpoint
