"""The list of the field holds together: 71 published systems, the components they need, and what provides those."""

import subprocess
import sys

import msgspec
import pytest
from support.entry import ROOT

from virc.config import yaml as plain_yaml
from virc.systems import published as listed
from virc.systems.published import Component, Row, State
from virc.systems.registry import PACKAGE

FIELD = [*listed.rows().values()]
COMPONENTS = listed.components()


def test_every_row_is_there_once() -> None:
    assert [row.row for row in FIELD] == list(range(1, 72))
    assert len({row.title for row in FIELD}) == 71
    assert {"virc": 70, "virgo": 71, "vlm-r3": 10, "visual-rft": 22}.items() <= {
        row.name: row.row for row in FIELD
    }.items()


@pytest.mark.parametrize("row", FIELD, ids=lambda row: row.name)
def test_a_row_has_no_key_that_nobody_reads(row: Row) -> None:
    assert len(row.about) <= 100
    assert not row.about.endswith(".")


def test_what_a_row_lacks_is_said_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four components, one is there, one lacks a part for this system, and two are not there."""
    there, rows = ("systems/kinds.py", "systems/names.py"), Row("x", 1, "X", "a", "rl", needs=("a", "b", "c", "d"))
    known = {
        "a": Component("it", provided=there, lacks={"other": "all else", "x": "its marks"}, kind="rows"),
        "b": Component("it", provided=(there[0], "gone.py"), kind="evaluation"), "c": Component("it", provided=there),
        "d": Component("it", lacks={"x": "a part"}, kind="reward"),
    }  # fmt: skip
    monkeypatch.setattr(listed, "components", lambda: known)
    assert listed.lacking(rows) == {"a": "its marks", "b": "", "d": ""}
    assert [listed.is_beside(name) for name in known] == [True, True, False, False]
    lacks = "needs: a (its marks), b, d"
    assert listed.of_listed(rows) == State("planned", lacks)
    changed = msgspec.structs.replace(rows, unknown="its prompt")
    assert str(listed.of_listed(changed)) == f"to be supplied: its prompt; {lacks}"
    assert str(listed.of_listed(msgspec.structs.replace(changed, unsupported="a game"))) == "unsupported: a game"
    assert listed.of_listed(msgspec.structs.replace(rows, needs=("c",))) == State("planned", "needs a YAML alone")
    assert str(State("works")) == "works"


def test_the_components_that_rows_need_are_those_that_there_are() -> None:
    assert {each for row in FIELD for each in row.needs} == COMPONENTS.keys()
    assert all(len(row.needs) == len(set(row.needs)) for row in FIELD)


def test_what_cannot_be_expressed_says_why() -> None:
    assert [row.row for row in FIELD if row.unsupported] == [5, 9, 14, 35, 48, 62]
    assert all(row.needs or row.unsupported for row in FIELD)
    partly = {11, 17, 21, 23, 26, 33, 40, 41, 45, 50, 56, 60, 63, 64, 65, 67}
    assert partly <= {row.row for row in FIELD if row.unknown or row.outside}
    assert {row.row for row in FIELD if row.outside} <= partly


@pytest.mark.parametrize("name", COMPONENTS)
def test_what_provides_a_component_is_there_and_tested(name: str) -> None:
    component = COMPONENTS[name]
    written = plain_yaml.read(listed.COMPONENTS)[component.kind][name]
    assert msgspec.convert({**written, "kind": component.kind}, Component) == component
    assert component.is_there == bool(component.provided) == bool(component.tests)
    assert all((PACKAGE.parent / file).is_file() for file in component.provided)
    assert all((ROOT / file).is_file() for file in component.tests)
    assert not component.lacks or component.provided
    assert component.lacks.keys() <= {row.name for row in FIELD if name in row.needs}


def test_a_system_is_read_without_the_field() -> None:
    code = "import sys; from virc.systems import registry as systems; systems.get('tiny'); print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "virc.systems.registry" in said.stdout.split()
    assert "virc.systems.catalog" not in said.stdout.split()
