"""A home for the programs that are attacked, and what is the same of this machine afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import host

from virc.core.limits import bounded


def _is_made(name: str) -> bool:
    return name.startswith(host.MARK)


def _is_mixed(request: pytest.FixtureRequest) -> bool:
    """Whether tests of other folders run in this process, too."""
    here = Path(__file__).parent
    return any(here not in item.path.parents for item in request.session.items)


@pytest.fixture(scope="package")
def home(tmp_path_factory: pytest.TempPathFactory) -> host.Home:
    """Runs `virc` in a home of its own."""
    return host.Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="package", autouse=True)
def _host_is_unchanged(home: host.Home, request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail where anything is left on this machine: a process, a file, a mount, a control group, a changed device."""
    before = host.state(_is_made)
    with host.adopting(home.processes if _is_mixed(request) else host.descendants):
        yield
        bounded.SCHEMAS.close()
    after = host.state(_is_made, home.pids)
    if _is_mixed(request):  # other tests of this process have sandboxes and programs, too, which have another home
        before["processes"], after["processes"] = [], home.processes()
        before["groups"], after["groups"] = [], host.groups(home.pids)
    assert {name: (before[name], found) for name, found in after.items() if found != before[name]} == {}
    assert home.left() == []


@pytest.fixture(autouse=True)
def _own_settings(home: host.Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands in this process leave the user's cache and settings alone."""
    monkeypatch.setenv("VIRC_CACHE", str(home.folder / "home" / ".cache" / "virc"))
    monkeypatch.setenv("VIRC_CONFIG", str(home.folder / "home" / ".config" / "virc" / "config.yaml"))
