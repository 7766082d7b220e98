"""Published systems have a folder each, which virc finds as those of an installed package."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from support import zoo

import virc_zoo
from virc.core import plugins
from virc.envs import environment as environments
from virc.envs import pins
from virc.systems import published
from virc.systems import registry as systems

FOLDERS = sorted(folder for folder in zoo.FOLDER.iterdir() if folder.is_dir() and folder.name != "__pycache__")


def called(name: str) -> str:
    """The folder of a system."""
    return re.sub(r"[-.]", "_", name)


def test_each_system_has_the_folder_of_its_name() -> None:
    named = {name: file.parent for name, file in systems.discover().files.items() if file.parent.parent == zoo.FOLDER}
    assert {name: folder.name for name, folder in named.items()} == {name: called(name) for name in named}
    rows = {called(name) for name in published.rows()}
    assert {folder.name for folder in FOLDERS} == rows | {folder.name for folder in named.values()}


OF_EXTRAS = {"python": "sandbox", "search": "search", "select_frames": "video", "turn_to": "video", "watch": "video"}
"""Tools of extras, by their names."""


def test_a_system_names_the_extras_of_its_tools_and_its_reward() -> None:
    for name, system in (
        (name, system) for name, system in systems.discover().items() if zoo.FOLDER in system.file.parents
    ):
        files = {*system.file.parent.glob("*.py"), *system.file.parent.glob("tools/*.py")}
        code = "".join(file.read_text() for file in files if file.name != "pipeline.py")
        used = set(re.findall(r"virc_extras\.(\w+)", code))
        used |= {extra for tool, extra in OF_EXTRAS.items() if tool in system.offered}
        assert set(system.needs) == used, name


def test_a_total_operator_or_tool_of_a_system_is_imported_as_a_part_of_the_package() -> None:
    module = plugins.loaded(plugins.of_systems("operators")["rotation"])
    assert module.__name__ == "virc_zoo.ssl4rl.operators.rotation"
    module = plugins.loaded(plugins.of_systems("tools")["zoom_around"])
    assert module.__name__ == "virc_zoo.chain_of_focus.tools.zoom_around"
    module = plugins.loaded(plugins.totals()["chain_of_focus"])
    assert module.__name__ == "virc_zoo.chain_of_focus.chain_of_focus"
    assert module.ASKED is plugins.loaded(plugins.totals()["deepeyes"]).ASKED


def test_rows_that_are_converted_by_two_shown_commands_have_two_folders() -> None:
    """`virc data convert` refuses a folder that it has filled before."""
    for name, system in systems.discover().items():
        for stage in system.stages.values():
            folders = [str(stage.settings.get(key, key)).partition("/")[0] for key in ("data", "validation")]
            assert folders[0] != folders[1] or "--name" not in str(stage.notes), name


def code_for_engines(folder: Path) -> Path:
    return environments.recipes_in(pins.get("rl", "cpu", folder))


def test_engines_get_the_code_of_systems_and_none_of_their_tests(tmp_path: Path) -> None:
    copied = code_for_engines(tmp_path) / virc_zoo.__name__
    assert {file.suffix for file in copied.rglob("*.*")} == {".py", ".yaml"}
    here, there = ({file.relative_to(each) for file in each.rglob("*.py")} for each in (zoo.FOLDER, copied))
    assert here == there


def run(code: str, path: Mapping[str, str]) -> str:
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.integration
def test_an_engine_finds_a_published_total_by_its_name(tmp_path: Path) -> None:
    copied = code_for_engines(tmp_path)
    code = (
        "import sys, yaml; from virc.rewards import registry\n"
        "own = [each for each in sys.path if each.startswith(sys.base_prefix) and 'site-packages' not in each]\n"
        f"sys.path[:] = [{str(copied)!r}, *own]  # where virc is not installed\n"
        "print(registry.find('chain_of_focus').file)"
    )
    found = run(code, {"PYTHONPATH": str(copied)})
    assert found == str(copied / "virc_zoo" / "chain_of_focus" / "chain_of_focus.py")


@pytest.mark.integration
def test_systems_are_listed_without_importing_their_package() -> None:
    code = (
        "import sys; from virc.systems import registry as systems; found = [*systems.discover().values()]\n"
        "print(len(found) > 30, 'virc_zoo' in sys.modules, 'importlib.metadata' in sys.modules)"
    )
    assert run(code, {}) == "True False False"
