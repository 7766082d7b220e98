"""How far a system is supported follows from files: what it needs, what is there, and what ran."""

import json
import re
from pathlib import Path
from typing import get_args

import jsonschema
import msgspec
import pytest
from support import tested
from support.called import virc
from support.entry import ROOT

from virc.systems import published as listed
from virc.systems import registry as systems
from virc.systems.catalog import support as state
from virc.systems.catalog.support import Ran, Record
from virc.systems.published import Component, Kind, Row, State
from virc_cli.commands.systems.ls import Support

SCHEMA = json.loads((ROOT / "recipes" / "virc" / "core" / "schemas" / "systems.json").read_bytes())
ALL = {"instruct", "practice", "rl"}


def row(**fields: object) -> Row:
    return msgspec.convert({"name": "r", "row": 1, "title": "R", "about": "a", "stages": "s", **fields}, Row)


@pytest.fixture
def components(monkeypatch: pytest.MonkeyPatch) -> None:
    """`A` is there, of `B` something is missing for `r`, `C` is there in half, `D` is not there."""
    found = {
        "A": Component("a", ("stages/rl.py",)),
        "B": Component("b", ("stages/rl.py",), lacks={"r": "a corner"}),
        "C": Component("c", ("stages/rl.py", "gone.py")),
        "D": Component("d"),
    }
    monkeypatch.setattr(listed, "components", lambda: found)


@pytest.mark.usefixtures("components")
@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"needs": ["A"]}, "planned: needs a YAML alone"),
        ({"needs": ["A", "D", "C"]}, "planned: needs D, C"),
        ({"needs": ["A", "B"]}, "planned: needs B (a corner)"),
        ({"name": "other", "needs": ["A", "B"]}, "planned: needs a YAML alone"),
        ({"needs": ["A"], "unknown": "its weights"}, "to be supplied: its weights"),
        ({"needs": ["D"], "unknown": "its weights"}, "planned: needs D"),
        ({"needs": ["A"], "unsupported": "it paints"}, "unsupported: it paints"),
        ({"needs": ["A"], "outside": "a robot"}, "planned: needs a YAML alone"),
    ],
)
def test_a_system_without_a_yaml_lacks_what_is_not_there(fields: dict[str, object], wanted: str) -> None:
    assert str(listed.of_listed(row(**fields))) == wanted


def ran(*stages: str, digest: str | None = None) -> dict[str, Record]:
    virc = digest or state.digest(systems.get("virc"))
    return {"virc": Record(virc, {stage: Ran("verl 0.9.1", 2) for stage in stages})}


@pytest.mark.usefixtures("components")
@pytest.mark.parametrize(
    ("told", "fields", "wanted"),
    [
        (ran(*ALL), {"needs": ["A"]}, "works"),
        (ran(*ALL), None, "works"),
        ({}, None, "partly: not tested: instruct, practice, rl"),
        (ran("rl", "instruct"), None, "partly: not tested: practice"),
        (ran(*ALL, digest="0" * 64), None, "partly: changed since its stages were tested"),
        (ran(*ALL), {"needs": ["A", "D"]}, "partly: needs D"),
        (ran(*ALL), {"outside": "a robot"}, "partly: not: a robot"),
        (ran("instruct", "practice"), {"unknown": "x"}, "partly: not tested: rl; to be supplied: x"),
    ],
)
def test_a_system_works_when_all_its_stages_ran_as_it_is_now(
    told: dict[str, Record], fields: dict[str, object] | None, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "tested", lambda: told)
    published = None if fields is None else row(**fields)
    assert str(state.of_system(systems.get("virc"), published)) == wanted


def test_a_system_of_ones_own_is_nobodys_to_test(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\n")
    assert state.of_system(systems.load(file), None) == State("own", str(file))


def test_a_system_whose_reward_is_not_public_says_so() -> None:
    reward = systems.Reward(total=None, supply="the weights")
    closed = msgspec.structs.replace(systems.get("virc"), reward=reward)
    assert str(state.of_system(closed, None)) == "to be supplied: the weights"


def test_comments_do_not_change_a_digest_and_values_do(tmp_path: Path) -> None:
    texts = ("name: a  # x\nabout: b\n", "# y\nname: a\nabout: 'b'\n", "name: a\nabout: c\n")
    digests = []
    for number, text in enumerate(texts):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        digests.append(state.digest(systems.load(file)))
    assert digests[0] == digests[1] != digests[2]
    # printf '{"name": "a", "about": "b"}' | sha256sum
    assert digests[0] == "f344be5802020185b56e79975ab6d567cdea38e0f3fbd4ea6c9f744e07412e8c"


def test_what_ran_is_stages_that_there_are_in_the_engines_that_are_pinned() -> None:
    for name, told in state.tested().items():
        system = systems.get(name)
        assert told.stages.keys() <= system.stages.keys()
        for stage, ran in told.stages.items():
            assert ran.engine == tested.engine(system.stages[stage].kind)
            assert ran.steps >= 1


def test_the_record_of_tiny_is_of_its_yaml_as_it_is() -> None:
    """The demo's test in the engines holds it too, half an hour later."""
    again = "VIRC_RECORD=1 python -m pytest -m engine tests/demo"
    assert state.tested()["tiny"].digest == state.digest(systems.get("tiny")), again


def test_a_record_is_written_when_asked_for_and_else_held_against(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tested.json"
    file.write_text(json.dumps({"virc": {"digest": "old", "stages": {"rl": {"engine": "e", "steps": 1}}}}))
    monkeypatch.delenv("VIRC_RECORD", raising=False)
    with pytest.raises(AssertionError, match="run this test with VIRC_RECORD=1 and commit tested"):
        tested.record("virc", "practice", "e 1", 2, file)
    monkeypatch.setenv("VIRC_RECORD", "1")
    tested.record("virc", "practice", "e 1", 2, file)
    tested.record("virc", "instruct", "e 1", 3, file)
    written = json.loads(file.read_bytes())["virc"]
    assert written["digest"] == state.digest(systems.get("virc"))
    assert list(written["stages"]) == ["instruct", "practice"]
    monkeypatch.delenv("VIRC_RECORD")
    tested.record("virc", "instruct", "e 1", 3, file)
    for engine, steps in (("e 2", 3), ("e 1", 4)):
        with pytest.raises(AssertionError, match="VIRC_RECORD=1"):
            tested.record("virc", "instruct", engine, steps, file)


def test_ls_has_a_line_for_each_system_grouped_by_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nmodels: {m: {}}\nstages: {one: {kind: sft}}\n")
    monkeypatch.setenv("VIRC_PATH", str(tmp_path))
    monkeypatch.setattr(state, "tested", lambda: ran(*ALL))
    done = virc("systems", "ls")
    lines = [line.split(maxsplit=2) for line in done.out.splitlines()]
    assert sorted(name for _, name, _ in lines) == sorted({*listed.names(), *systems.discover()})
    order = [kind for kind, _, _ in lines]
    assert order == sorted(order, key=lambda kind: get_args(Support).index(kind))
    what = {name: (kind, text) for kind, name, text in lines}
    assert what["mine"] == ("own", str(tmp_path / "mine.yaml"))
    assert what["virc"] == ("works", "instruct (sft), practice (sft), rl (rl)")
    assert what["meteor"] == ("unsupported", "a Mamba network inside the model reads the rationale")
    total, *states = map(int, re.findall(r"\d+", done.err))
    assert (total, sum(states)) == (len(lines), len(lines))
    assert "--state planned` says what each need is" in done.err


def test_what_planned_systems_need_is_said_in_words() -> None:
    done = virc("systems", "ls", "--state", "planned")
    said = {line.split()[0] for line in done.err.splitlines()[1:]}
    assert {code for line in done.out.splitlines() for code in re.findall(r"\b[A-Z]-[\w-]+", line)} == said


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
    (reasoner,) = (each for each in printed["field"] if each["name"] == "pixel-reasoner")
    assert (reasoner["repo"], reasoner["state"]) == ("TIGER-AI-Lab/Pixel-Reasoner", "planned")
    assert reasoner["lacks"]["T-video"] == ""
    assert set(SCHEMA["$defs"]["state"]["enum"]) == set(get_args(Support)) == set(get_args(Kind))


def test_ls_shows_a_part_alone() -> None:
    unsupported = virc("systems", "ls", "--state", "unsupported").out.splitlines()
    assert [line.split()[1] for line in unsupported] == [each.name for each in listed.field() if each.unsupported]
    printed = virc("systems", "ls", "--state", "unsupported", "--json").json
    assert (printed["systems"], len(printed["field"])) == ([], 6)
    field = virc("systems", "ls", "--field").out.splitlines()
    assert len(field) == 71
    assert any(line.endswith("  reasons in hidden states and in patches that attention picks, not in words")
               for line in field)  # fmt: skip
    misspelt = virc("systems", "ls", "--state", "plannd")
    assert (misspelt.code, "'planned'" in misspelt.err) == (2, True)


def test_show_says_what_a_published_system_needs_and_which_of_it_is_there() -> None:
    lines = virc("systems", "show", "pixel-reasoner").out.splitlines()
    assert lines[0].startswith("pixel-reasoner: zooms into pictures")
    assert lines[1].startswith("state        planned: needs ")
    assert "published    Pixel Reasoner, number 8 of the field" in lines
    assert "  code       https://github.com/TIGER-AI-Lab/Pixel-Reasoner" in lines
    needs = {line.split()[0]: line.split(maxsplit=2) for line in lines[lines.index("needs") + 1 :]}
    assert needs["T-video"][1] == "missing"
    assert needs["A-grpo"][1] == "there"
    assert needs["T-crop"][1] == "partly"
    assert needs["T-crop"][2].endswith("; not a margin of a tenth around the box")
    printed = virc("systems", "show", "pixel-reasoner", "--json").json
    assert (printed["file"], printed["stages"], printed["published"]["row"]) == (None, None, 8)
    assert printed["published"]["needs"]["T-video"]["there"] is False
    virc_shown = virc("systems", "show", "virc").out
    assert "published    ViRC, number 70 of the field" in virc_shown
    assert virc("systems", "show", "tiny", "--json").json["published"] is None


@pytest.mark.parametrize(
    "words",
    [
        "train pixel-reasoner --stage rl",
        "systems show pixel-reasoner --stage rl",
        "systems cp pixel-reasoner x.yaml",
        "doctor pixel-reasoner",
    ],
)
def test_what_is_planned_alone_is_refused_in_one_sentence(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = virc(*words.split())
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("error: pixel-reasoner is planned: needs ")
    assert done.err.endswith("\nhint: virc systems show pixel-reasoner\n")
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_published_system_gets_the_right_name_and_a_file_of_the_name_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "did you mean 'pixel-reasoner'?" in virc("train", "pixl-reasoner", "--stage", "rl").err
    monkeypatch.chdir(tmp_path)
    Path("pixel-reasoner.yaml").write_text("name: pixel-reasoner\n")
    done = virc("train", "pixel-reasoner", "--stage", "rl")
    assert "a file is named by its path: ./pixel-reasoner.yaml" in done.err
    monkeypatch.setenv("VIRC_PATH", str(tmp_path))
    assert virc("systems", "ls", "--state", "own").out.split()[:2] == ["own", "pixel-reasoner"]


def test_show_says_how_a_system_is_spoken_to_and_what_of_its_reward_is_not_public(tmp_path: Path) -> None:
    file = tmp_path / "plain.yaml"
    file.write_text(
        "name: plain\ntools: none\nchat_protocol: {system: '', grammar: {calls: []}}\n"
        "sampling: {temperature: 0, repetition_penalty: 1.05}\nreward: {total: null, supply: its weights}\n"
    )
    lines = virc("systems", "show", file).out.splitlines()
    assert lines[1] == f"state        own: {file}"
    assert {
        "tools        none",
        "chat protocol      of its own: system, grammar",
        "sampling     temperature 0, repetition_penalty 1.05",
        "reward to be supplied, checks own, judge none",
    } <= set(lines)
    printed = virc("systems", "show", file, "--json").json
    assert (printed["tools"], printed["chat_protocol"]["system"]) == ("none", "")
