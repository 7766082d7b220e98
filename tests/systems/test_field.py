"""The list of the field holds together: 71 published systems, the components they need, and what provides those."""

import subprocess
import sys
from collections import Counter

import msgspec
import pytest
from support.entry import ROOT

from virc.config import yaml as plain_yaml
from virc.systems import published as listed
from virc.systems.published import Component, Row
from virc.systems.registry import PACKAGE

FIELD = listed.field()
COMPONENTS = listed.components()

# How many of the 71 need each component, counted by hand when the field was read.
NEEDED = """
T-crop 12  T-video 11  T-llm 8  T-expert 6  T-code 6  T-draw 4  T-search 3  T-scale 1  T-point 1  T-env 1
L-mt 18  I-pipe 6  I-critic 4  I-prog 3  I-agents 2  I-loop 1  L-mem 1  I-seg 1  I-tts 1
R-exact 37  R-fmt 30  R-math 18  R-tool 12  R-box 11  R-judge 8  R-gate 9  R-proc 6  R-text 7  R-len 6  R-struct 4
R-aux 4  R-tiou 2  R-step 2  R-clip 2  R-rank 1  R-traj 1
A-grpo 47  A-dapo 7  A-dpo 5  A-group 4  A-ent 4  A-rft 4  A-tok 2  A-inject 2  A-prefix 1  A-credit 1  A-gate 1
A-gspo 1  A-iter 1  A-dqn 1  K-freeze 1
D-traj 19  D-cot 12  D-diff 7  D-cur 9  D-distil 5  D-mix 4  D-corrupt 3  D-mcts 2  D-ssl 1  D-web 1
M-rel1000 6  M-other 3  M-internvl 2  M-glm 2
E-bench 12  E-video 10  E-custom 6  E-ground 3  E-gen 1
""".split()


def test_every_row_is_there_once_and_in_the_file_of_its_name() -> None:
    assert [row.row for row in FIELD] == list(range(1, 72))
    assert sorted(row.name for row in FIELD) == listed.names() == sorted(f.stem for f in listed.FIELD.iterdir())
    assert len({row.title for row in FIELD}) == 71
    assert {"virc": 70, "virgo": 71, "vlm-r3": 10, "visual-rft": 22}.items() <= {
        row.name: row.row for row in FIELD
    }.items()


@pytest.mark.parametrize("row", FIELD, ids=lambda row: row.name)
def test_a_row_has_no_key_that_nobody_reads(row: Row) -> None:
    content = plain_yaml.read(listed.FIELD / f"{row.name}.yaml")
    assert msgspec.convert(content, Row) == row
    assert len(row.about) <= 100
    assert not row.about.endswith(".")


def test_the_components_that_rows_need_are_those_that_there_are() -> None:
    needed = Counter(each for row in FIELD for each in row.needs)
    assert needed == dict(zip(NEEDED[::2], map(int, NEEDED[1::2]), strict=True))
    assert needed.keys() == COMPONENTS.keys()
    assert all(len(row.needs) == len(set(row.needs)) for row in FIELD)


def test_what_cannot_be_expressed_says_why() -> None:
    assert [row.row for row in FIELD if row.unsupported] == [5, 9, 14, 35, 48, 62]
    assert all(row.needs or row.unsupported for row in FIELD)
    partly = {11, 17, 21, 23, 26, 31, 33, 40, 41, 45, 50, 56, 60, 63, 64, 65, 67}
    assert partly <= {row.row for row in FIELD if row.unknown or row.outside}
    assert {row.row for row in FIELD if row.outside} <= partly


@pytest.mark.parametrize("name", COMPONENTS)
def test_what_provides_a_component_is_there_and_tested(name: str) -> None:
    component = COMPONENTS[name]
    assert msgspec.convert(plain_yaml.read(listed.COMPONENTS)[name], Component) == component
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
