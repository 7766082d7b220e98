"""How far a system is supported: `support` of its YAML, and of the published ones the components that they need."""

import json
import re
from pathlib import Path
from typing import get_args

import jsonschema
import msgspec
import pytest
from support.called import virc
from support.entry import ROOT

from virc.config import dotted
from virc.config import yaml as plain_yaml
from virc.stages import resolve as stages
from virc.systems import published as listed
from virc.systems import registry as systems
from virc.systems import support
from virc.systems.published import Kind, PublishedSystem
from virc_cli.commands.systems.ls import Support

SCHEMA = json.loads((ROOT / "recipes" / "virc" / "core" / "schemas" / "systems.json").read_bytes())


def row(**fields: object) -> PublishedSystem:
    return msgspec.convert(
        {"name": "r", "row": 1, "title": "R", "about": "a", "stages": "s", **fields}, PublishedSystem
    )


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"needs": ["A"]}, "planned: needs a YAML alone"),
        ({"needs": ["A", "B", "C"], "lacks": {"B": "a corner", "C": ""}}, "planned: needs: B (a corner), C"),
        ({"lacks": {"D": ""}, "unknown": "its weights"}, "to be supplied: its weights; needs: D"),
        ({"needs": ["A"], "unsupported": "it paints"}, "unsupported: it paints"),
    ],
)
def test_a_system_without_a_yaml_says_what_it_lacks(fields: dict[str, object], wanted: str) -> None:
    assert str(listed.of_listed(row(**fields))) == wanted


@pytest.mark.parametrize(
    ("stated", "fields", "wanted"),
    [
        ("works", {"needs": ["A"]}, "works"),
        ("works", None, "works"),
        ("works", {"lacks": {"E": ""}}, "works: without E"),
        ("ran", None, "ran"),
        ("partly", {"lacks": {"D": ""}}, "partly: needs: D"),
        ("partly", {"outside": "a robot", "unknown": "x"}, "partly: to be supplied: x; not: a robot"),
        (None, None, "partly: its YAML does not state its support"),
    ],
)
def test_a_system_is_supported_as_its_yaml_states(
    stated: str | None, fields: dict[str, object] | None, wanted: str
) -> None:
    system = msgspec.structs.replace(systems.get("virc"), support=stated)
    assert str(support.of_system(system, None if fields is None else row(**fields))) == wanted


def test_a_system_with_tools_or_outside_parts_does_not_state_that_it_works() -> None:
    for name, published in listed.rows().items():
        system = systems.discover().get(name)
        if system and system.support in ("works", "reconstructed"):
            assert not published.outside, name
            assert (system.support == "reconstructed") == bool(system.assumed), name


def test_the_field_has_71_systems_whose_needs_are_known() -> None:
    field = [*listed.rows().values()]
    assert [each.row for each in field] == list(range(1, 72))
    assert len({each.title for each in field}) == 71
    assert all(each.needs or each.unsupported for each in field)
    assert all(each.lacks.keys() <= {*each.needs} for each in field)


def test_ls_has_a_line_for_each_system_grouped_by_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nmodels: {m: {}}\nstages: {one: {kind: sft}}\n")
    monkeypatch.setenv("VIRC_PATH", str(tmp_path))
    usable = {line.split()[0] for line in virc("systems", "ls").out.splitlines()}
    assert usable == {"own", "works", "reconstructed"}
    done = virc("systems", "ls", "--all")
    lines = [[*line.split(maxsplit=2), ""][:3] for line in done.out.splitlines()]
    assert sorted(name for _, name, _ in lines) == sorted({*listed.rows(), *systems.discover()})
    order = [kind for kind, _, _ in lines]
    assert order == sorted(order, key=lambda kind: get_args(Support).index(kind))
    what = {name: (kind, text) for kind, name, text in lines}
    assert what["mine"] == ("own", str(tmp_path / "mine.yaml"))
    assert what["virc"] == ("works", "instruct (sft), practice (sft), rl (rl)")
    assert what["meteor"] == ("unsupported", "a Mamba network inside the model reads the rationale")
    counted = [[int(number) for number in re.findall(r"\d+", line)] for line in done.err.splitlines()[:2]]
    assert [sum(states) for _, *states in counted] == [total for total, *_ in counted]
    assert (counted[0][0], counted[0][0] + counted[1][0]) == (71, len(lines))
    assert "virc systems show NAME" in done.err


def test_an_assumption_says_what_the_yaml_has() -> None:
    for system, each in [(one, each) for one in systems.discover().values() for each in one.assumed]:
        path = tuple(each.key.split("."))
        if each.value is None:
            assert dotted.at(plain_yaml.read_mapping(system.file), path), each.key
            continue
        of = [each.stage] if each.stage else [*system.stages]
        for stage in of:
            assert dotted.at(msgspec.to_builtins(stages.resolve(system, stage).config), path) == each.value, each.key
            other = {str: "elsewhere", bool: False}.get(type(each.value), 2)
            changed = stages.resolve(system, stage, assignments=[f"{each.key}={other}"]).config
            assert dotted.at(msgspec.to_builtins(changed), path) == other, each.key


def test_a_system_with_assumptions_is_reconstructed_and_lists_them() -> None:
    star = systems.get("star-r1")
    reached = support.of_system(star, listed.rows()["star-r1"])
    assert (reached.kind, reached.what.split(":")[0]) == ("reconstructed", f"{len(star.assumed)} assumptions")
    lines = virc("systems", "show", "star-r1").out.splitlines()
    plan = virc("systems", "show", "star-r1", "--stage", "rl").out.splitlines()
    for each in star.assumed:
        assert str(each) in lines
        assert f"note: {each}" in plan


def test_json_of_ls_has_all_fields_and_keeps_to_its_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nabout: b\nmodels: {m: {}}\nstages: {one: {kind: sft}}\n")
    monkeypatch.setenv("VIRC_PATH", str(tmp_path))
    printed = virc("systems", "ls", "--json").json
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(printed, SCHEMA)
    assert [each["row"] for each in printed["field"]] == list(range(1, 72))
    assert printed["systems"][-1] == {
        "name": "mine", "about": "b", "state": "own", "what": str(tmp_path / "mine.yaml"),
        "stages": {"one": "sft"}, "models": ["m"], "from": str(tmp_path / "mine.yaml"),
    }  # fmt: skip
    (vurf,) = (each for each in printed["field"] if each["name"] == "vurf")
    assert (vurf["repo"], vurf["state"]) == ("ahmad-573/VURF", "to-be-supplied")
    assert vurf["lacks"] == {"frames of videos": "", "video benchmarks": ""}
    assert set(SCHEMA["$defs"]["state"]["enum"]) == set(get_args(Support)) == set(get_args(Kind))


def test_show_says_what_a_published_system_needs_and_which_of_it_is_there() -> None:
    lines = virc("systems", "show", "vurf").out.splitlines()
    assert lines[0].startswith("vurf: a language model writes programs")
    assert lines[1].startswith("state        to be supplied: the example programs ")
    assert "  repo     ahmad-573/VURF" in lines
    assert "  lacks    frames of videos, video benchmarks" in lines
    printed = virc("systems", "show", "vurf", "--json").json
    assert (printed["file"], printed["stages"], printed["published"]["row"]) == (None, None, 46)
    assert "  lacks   curriculum sampling by difficulty, " in virc("systems", "show", "glm-4.1v-thinking").out
    assert "  repeat_limit  0" in virc("systems", "show", "deepeyes").out.splitlines()
    assert "  title   ViRC" in virc("systems", "show", "virc").out.splitlines()
    assert virc("systems", "show", "tiny", "--json").json["published"] is None


def test_what_is_planned_alone_is_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = virc("train", "visionary-r1", "--stage", "rl")
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("error: visionary-r1 is planned: needs: ")
    assert done.err.endswith("\nhint: virc systems show visionary-r1\n")
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_published_system_gets_the_right_name_and_a_file_of_the_name_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "did you mean 'look-less-reason-more'?" in virc("train", "look-less-reason-mor", "--stage", "rl").err
    monkeypatch.chdir(tmp_path)
    Path("look-less-reason-more.yaml").write_text("name: look-less-reason-more\n")
    done = virc("train", "look-less-reason-more", "--stage", "rl")
    assert "a file is named by its path: ./look-less-reason-more.yaml" in done.err
    monkeypatch.setenv("VIRC_PATH", str(tmp_path))
    assert virc("systems", "ls", "--all").out.split()[:2] == ["own", "look-less-reason-more"]
