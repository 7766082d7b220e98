"""The chat protocol that a system's YAML makes: its tools, what its boxes and pictures are, how it is sampled."""

import json
from pathlib import Path

import pytest

from virc.reasoning.protocol import Coordinates, own_protocol
from virc.systems import registry as systems
from virc.systems import speech
from virc.systems.registry import System
from virc.tools import registry as tools


def system(folder: Path, text: str) -> System:
    (folder / "x.yaml").write_text(f"name: x\n{text}\n")
    return systems.load(folder / "x.yaml")


@pytest.mark.parametrize(
    ("text", "of_model", "counted"),
    [
        ("", None, "pixel"),
        ("coordinates: permille", None, "permille"),
        ("coordinates: permille", "thousand", "thousand"),
        ("", "unit", "unit"),
    ],
)
def test_boxes_are_counted_as_the_model_says_else_as_its_system(
    text: str, of_model: Coordinates | None, counted: Coordinates, tmp_path: Path
) -> None:
    ours = speech.ours(system(tmp_path, text), of_model)
    told = own_protocol(tools.schemas(tools.DEFAULT, counted), counted).system
    assert (ours.coordinates, ours.system) == (counted, told)
    worded = system(tmp_path, f"{text}\nchat_protocol: {{system: Look., first: '{{question}}'}}")
    found = speech.worded_by(worded, of_model)
    assert found is not None
    assert (found.coordinates, found.system, found.name) == (counted, "Look.", "system")


@pytest.mark.parametrize(
    ("text", "names"), [("", tools.DEFAULT), ("tools: none", ()), ("tools: [zoom_image]", ("zoom_image",))]
)
def test_the_tools_of_a_system_are_told_and_no_others(text: str, names: tuple[str, ...], tmp_path: Path) -> None:
    found = speech.ours(system(tmp_path, text))
    assert tuple(found.tools) == names
    assert {name for name in (*tools.DEFAULT, "zoom_image") if f'"{name}"' in found.system} == {*names}
    listed = speech.worded_by(system(tmp_path, f"{text}\nchat_protocol: {{system: 'Of {{tools}}.'}}"))
    assert listed is not None
    assert listed.system == f"Of {chr(10).join(json.dumps(each) for each in tools.schemas(names))}."
