"""The list of the field holds together: 71 published systems, the components they need, and what provides those."""

import re
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

FIELD = [*listed.rows().values()]
COMPONENTS = listed.components()

# How many of the 71 need each component, counted by hand when the field was read.
NEEDED = """
crops 12, frames of videos 11, models as tools 8, vision models as tools 6, Python in a sandbox 6, drawing 4, search 3,
scaled images 1, windows around points 1, stepped environments 1, multi-turn rollouts 18,
seeing and reasoning models 6, critics and verifiers 4, programs over tools 3, several agents 2, tool loop 1,
forgotten frames 1, masks of boxes 1, test-time strategies 1, exact answers 37, format terms 29, symbolic equality 18,
tool terms 12, box terms 11, judged answers 8, gated terms 9, judged steps 6, text similarity 7,
length and repetition 6, structured answers 5, rewards of a second rollout 4, temporal overlap 2, annotated steps 2,
image-text similarity 2, ranking 1, distance of paths 1, GRPO 47, DAPO 7, DPO 5, group rewards 4,
entropy and schedules 4, rejection sampling 4, token weights 2, injected samples 2, RL on next steps 1,
advantages per action 1, gated updates 1, GSPO 1, rounds 1, Q-learning 1, frozen parts 1, SFT on trajectories 19,
SFT on chains of thought 12, filters by difficulty 7, curriculum 9, rows of teachers 5, mixed sources 4,
corrupted rows 3, tree search 2, self-supervised questions 1, questions of the web 1, boxes in thousandths 6,
other model families 2, InternVL 2, GLM-V 2, picture benchmarks 12, video benchmarks 10, scores of one benchmark 6,
grounding scores 3, judged videos 1
"""


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


def test_the_components_that_rows_need_are_those_that_there_are() -> None:
    needed = Counter(each for row in FIELD for each in row.needs)
    assert needed == {name: int(count) for name, count in re.findall(r"(\S.*?) (\d+)[,\n]", NEEDED)}
    assert needed.keys() == COMPONENTS.keys()
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
