"""Engines of an agent endpoint; a browser, its page, and a picture to ask about."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_page import HEIGHT, WIDTH, Model, choose, finish, page_of, put, visit
from agent_server import Held, Running, scripted
from PIL import Image
from support.browser import Tab


@pytest.fixture(scope="module")
def model() -> Model:
    return Model()


@pytest.fixture(scope="module")
def site(model: Model) -> Iterator[str]:
    with scripted(model, at_once=4) as running:
        yield page_of(running)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    Image.radial_gradient("L").resize((WIDTH, HEIGHT)).convert("RGB").save(path)
    return path


@pytest.fixture
def ask(browser: Tab, site: str, picture: Path) -> Callable[[str], None]:
    """Opens the page with a picture, and asks questions from then on."""
    visit(browser, site, 1400)
    choose(browser, picture)

    def asked(question: str) -> None:
        put(browser, question)
        finish(browser)

    return asked


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
