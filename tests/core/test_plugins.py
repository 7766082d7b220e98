"""Which file of a name is taken, and modules that find each other."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from virc.core import discovery, plugins
from virc.core.errors import ConfigError


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A folder beside a system, two of `VIRC_PATH`, and an installed package; the last has `spin` alone."""
    found = {name: tmp_path / name for name in ("beside", "first", "second", "package")}
    for folder in found.values():
        folder.mkdir()
    monkeypatch.setenv(plugins.SEARCH_PATH, f"{found['first']}:{found['second']}")
    (found["package"] / "spin.py").touch()
    monkeypatch.setattr(plugins, "installed", lambda group: {"spin": found["package"] / "spin.py"})
    return found


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ([], "package/spin.py"),
        (["second/spin.yaml"], "second/spin.yaml"),
        (["second/spin.py", "second/spin.yaml"], "second/spin.py"),
        (["second/spin.py", "first/spin.yaml"], "first/spin.yaml"),
        (["second/spin.py", "first/spin.py", "beside/spin.yaml"], "beside/spin.yaml"),
    ],
)
def test_the_nearest_file_of_a_name_is_taken(places: dict[str, Path], there: list[str], taken: str) -> None:
    root = places["beside"].parent
    for file in there:
        (root / file).touch()
    found = plugins.file_of("spin", plugins.folders(places["beside"]), "virc.tools", (".py", ".yaml"))
    assert found == root / taken


@pytest.mark.parametrize("name", ["../beside/spin", "a.b", "spin.py", "", "a b"])
def test_a_name_leads_to_no_other_folder(places: dict[str, Path], name: str) -> None:
    (places["beside"] / "spin.py").touch()
    assert plugins.file_of(name, [places["first"]], "virc.tools") is None


def test_a_module_that_fails_names_its_line_and_is_loaded_anew(tmp_path: Path) -> None:
    (file := tmp_path / "mine.py").write_text("import json\nVALUE = 1\njson.loads('{')\n")
    before = set(sys.modules)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"mine\.py cannot be loaded: JSONDecodeError: .*, in line 3$"):
            plugins.loaded(file)
    assert {name for name in set(sys.modules) - before if name.startswith("virc_own")} == set()
    file.write_text("VALUE = 2\n")
    plugins.loaded.cache_clear()
    assert plugins.loaded(file).VALUE == 2


def test_modules_of_a_package_are_found_in_order_without_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder := tmp_path / "kinds_of_mine").mkdir()
    for name in ("__init__", "zoom", "registry", "crop", "turn", "ask", "mark", "blur", "line"):
        (folder / f"{name}.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert discovery.names("kinds_of_mine") == ("ask", "blur", "crop", "line", "mark", "turn", "zoom")
    assert isinstance(discovery.module("kinds_of_mine", "crop"), ModuleType)


def test_of_two_installed_packages_the_first_on_the_path_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("one", "two"):
        (info := tmp_path / package / f"{package}-1.dist-info").mkdir(parents=True)
        (info / "entry_points.txt").write_text(f"[virc.operators]\nspin = spin_of_{package}\n")
        (tmp_path / package / f"spin_of_{package}.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "one"), str(tmp_path / "two")])
    plugins.installed.cache_clear()
    found = plugins.installed("virc.operators")
    plugins.installed.cache_clear()
    assert found == {"spin": tmp_path / "one" / "spin_of_one.py"}


def test_two_tools_of_systems_with_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / each / "a" / "tools" / "spin.py" for each in ("one", "two")]
    for file in files:
        file.parent.mkdir(parents=True)
        file.touch()
    monkeypatch.setattr(plugins, "system_packages", lambda: {tmp_path / each: each for each in ("one", "two")})
    plugins.of_systems.cache_clear()
    with pytest.raises(ConfigError, match=f"{files[0]} and {files[1]} have one name"):
        plugins.of_systems("tools")
