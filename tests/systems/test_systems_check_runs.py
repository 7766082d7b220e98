"""`virc systems check` runs a system's own tools and reward once, and names the line that fails."""

import re
from pathlib import Path

import pytest
from support.called import virc

from virc.tools import registry as tools

TOOL = """NAME, TEMPLATE = "spin", "after_image"
SCHEMA = {"type": "function", "function": {"name": NAME, "description": "Turn.", "parameters": {
    "type": "object", "required": ["degrees"],
    "properties": {"degrees": {"type": "integer", "enum": [90, 180]}, "image_index": {"type": "integer"}}}}}


def apply(call, source):
    return source.rotate(call.arguments["DEGREES"])
"""
CHECK = """

def check(arguments, view):
    return arguments.nothing
"""
REWARD = """TERMS = ("format", "length")


def length(sample, means):
    return len(sample.text) / WORTH


def total(t):
    return t.format + t.length
"""


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system whose tool and reward each fail."""
    monkeypatch.setattr(tools, "_CUSTOM", {})
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    (tmp_path / "spin.py").write_text(TOOL)
    (tmp_path / "mine.py").write_text(REWARD)
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nreward: {total: ./mine.py}\ntools: [crop_image, ./spin.py]\n")
    return file


def mended(file: Path, text: str, by: str) -> None:
    file.write_text(file.read_text().replace(text, by))


def test_what_fails_is_a_fault_with_its_line(system: Path) -> None:
    done = virc("systems", "check", system)
    assert done.code == 3
    reward, tool = done.out.splitlines()
    assert re.match(rf"{system}:2: line 5 of {system.with_name('mine.py')} fails: NameError: ", reward), reward
    assert re.match(rf"{system}:3: the tool spin fails in line 8 of {system.with_name('spin.py')}: KeyError", tool), (
        tool
    )


def test_what_does_not_fail_is_none(system: Path) -> None:
    mended(system.with_name("mine.py"), "WORTH", "1000")
    mended(system.with_name("spin.py"), "DEGREES", "degrees")
    done = virc("systems", "check", system)
    assert (done.code, done.out) == (0, ""), done.err


def test_the_check_of_a_tool_that_fails_names_its_line(system: Path) -> None:
    mended(system.with_name("mine.py"), "WORTH", "1000")
    system.with_name("spin.py").write_text(TOOL + CHECK)
    done = virc("systems", "check", system, "--json")
    (fault,) = done.json["faults"]
    assert re.match(r"the check of the tool spin fails in line 12 of .*spin\.py: AttributeError", fault["message"])


def test_a_file_that_does_not_load_names_its_line(system: Path) -> None:
    mended(system.with_name("spin.py"), "NAME, TEMPLATE", "\nNAME, TEMPLATE = WORTH\nNAME, TEMPLATE")
    done = virc("systems", "check", system)
    assert re.search(r"spin\.py cannot be loaded: NameError: .*, in line 2", done.out), done.out


@pytest.mark.parametrize(
    "body",
    [
        "return means.asked() and len(sample.text)",
        "return float(sample.prompt.columns['level'])",
        "raise DataError('the row has no `level`')",
    ],
)
def test_what_a_drawn_row_lacks_is_no_fault(system: Path, body: str) -> None:
    mended(system.with_name("mine.py"), "return len(sample.text) / WORTH", body)
    mended(system.with_name("mine.py"), "TERMS", "from virc.core.errors import DataError\n\nTERMS")
    mended(system.with_name("spin.py"), "DEGREES", "degrees")
    done = virc("systems", "check", system)
    assert (done.code, done.out) == (0, ""), done.err
