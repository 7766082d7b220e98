"""Engines of an agent endpoint."""

from collections.abc import Iterator

import pytest
from agent_server import ANSWER, LOOK, Held, Running, scripted


@pytest.fixture
def held() -> Iterator[Held]:
    found = Held()
    yield found
    found.go.set()


@pytest.fixture(scope="module")
def endpoint(request: pytest.FixtureRequest) -> Iterator[Running]:
    """In front of a server that says the module's `turns`; where it has none, a look and an answer."""
    with scripted(getattr(request.module, "turns", (LOOK, ANSWER))) as found:
        yield found


@pytest.fixture
def running(endpoint: Running) -> Running:
    """The endpoint of the module; its engine has been asked nothing yet."""
    endpoint.behind.requests.clear()
    return endpoint
