"""How far a system is supported follows from files: what it needs, what is there, and what ran."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import get_args

import jsonschema
import msgspec
import pytest
from support import published_rewards, tested
from support.called import virc
from support.entry import ROOT

from virc.config import dotted
from virc.config import yaml as plain_yaml
from virc.stages import resolve as stages
from virc.systems import published as listed
from virc.systems import registry as systems
from virc.systems.catalog import support as state
from virc.systems.catalog.support import Compared, Ran, Record, Solved
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
        "A": Component("a", "tools", ("stages/rl.py",)),
        "B": Component("b", "tools", ("stages/rl.py",), lacks={"r": "a corner"}),
        "C": Component("c", "tools", ("stages/rl.py", "gone.py")),
        "D": Component("d", "tools"),
        "E": Component("how rows are made", "rows"),
    }
    monkeypatch.setattr(listed, "components", lambda: found)


@pytest.mark.usefixtures("components")
@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"needs": ["A"]}, "planned: needs a YAML alone"),
        ({"needs": ["A", "D", "C"]}, "planned: needs: D, C"),
        ({"needs": ["A", "B"]}, "planned: needs: B (a corner)"),
        ({"name": "other", "needs": ["A", "B"]}, "planned: needs a YAML alone"),
        ({"needs": ["A"], "unknown": "its weights"}, "to be supplied: its weights"),
        ({"needs": ["D"], "unknown": "its weights"}, "to be supplied: its weights; needs: D"),
        ({"needs": ["A"], "unsupported": "it paints"}, "unsupported: it paints"),
        ({"needs": ["A"], "outside": "a robot"}, "planned: needs a YAML alone"),
    ],
)
def test_a_system_without_a_yaml_lacks_what_is_not_there(fields: dict[str, object], wanted: str) -> None:
    assert str(listed.of_listed(row(**fields))) == wanted


def tried(*stages: str, rewards: bool = True, solved: bool = True) -> dict[str, Record]:
    """A record of `virc`."""
    ran = {stage: Ran("verl 0.9.1", 2, "rl") for stage in stages}
    compared = {"rl": Compared(480, 10)} if rewards else {}
    answered = Solved(3, 2) if solved else None
    return {"virc": Record(ran, compared, answered)}


@pytest.mark.usefixtures("components")
@pytest.mark.parametrize(
    ("told", "fields", "wanted"),
    [
        (tried(*ALL), {"needs": ["A"]}, "works"),
        (tried(*ALL), None, "works"),
        (tried("rl", "instruct"), None, "partly: practice did not run yet"),
        (tried(*ALL, rewards=False), None, "ran: rl has a reward that no test compares with the published one"),
        (tried(*ALL, solved=False), None, "ran: not tried whether a conversation in its grammar was answered"),
        (tried(*ALL), {"needs": ["A", "D"]}, "partly: needs: D"),
        (tried(*ALL), {"needs": ["A", "E"]}, "works: without E"),
        (tried(*ALL), {"outside": "a robot"}, "partly: not: a robot"),
        (tried("instruct", "practice"), {"unknown": "x"}, "partly: rl did not run yet; to be supplied: x"),
    ],
)
def test_a_system_works_when_all_of_it_was_tried(
    told: dict[str, Record], fields: dict[str, object] | None, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "tested", lambda: told)
    published = None if fields is None else row(**fields)
    assert str(state.of_system(systems.get("virc"), published)).startswith(wanted)


def test_a_stage_is_as_far_as_what_was_tried_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    virc_system = systems.get("virc")

    def reached(told: dict[str, Record], stage: str = "rl") -> tuple[str, bool]:
        monkeypatch.setattr(state, "tested", lambda: told)
        level = state.of_stage(virc_system, stage)
        return level.reached, not level.lacks

    assert reached(tried(*ALL)) == ("rewarded", True)
    assert reached(tried(*ALL), "instruct") == ("ran", True)  # there is no reward to hold
    assert reached(tried(*ALL, rewards=False)) == ("ran", False)
    assert reached(tried("instruct")) == ("none", False)
    assert reached({}) == ("none", False)


@pytest.mark.parametrize("name", ["mine", "virc"])  # also under the name of one that was tried
def test_a_system_of_ones_own_is_nobodys_to_test(name: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"name: {name}\n")
    assert state.of_system(systems.load(file), None) == State("own", str(file))


def test_a_system_whose_reward_is_not_public_says_so() -> None:
    reward = systems.Reward(total=None, supply="the weights")
    closed = msgspec.structs.replace(systems.get("virc"), reward=reward)
    assert str(state.of_system(closed, None)) == "to be supplied: the weights"


def test_the_state_of_a_system_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found, of_system = list[str](), state.of_system
    monkeypatch.setattr(state, "of_system", lambda system, row: found.append(system.name) or of_system(system, row))
    state.states()
    assert sorted(found) == sorted(systems.discover())


@pytest.mark.integration
def test_systems_are_listed_where_a_file_behind_them_is_broken(tmp_path: Path) -> None:
    copied = tmp_path / "recipes"
    shutil.copytree(ROOT / "recipes", copied, ignore=shutil.ignore_patterns("__pycache__", "cases*.json"))
    (copied / "virc_zoo" / "vlm_r3" / "vlm_r3.py").write_text("raise RuntimeError\n")
    words = [sys.executable, "-m", "virc_cli", "systems", "ls", "--json"]
    paths = os.pathsep.join((str(copied), str(ROOT)))
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True)
    (found,) = (each for each in json.loads(done.stdout)["systems"] if each["name"] == "vlm-r3")
    assert (found["state"], found["levels"]["rl"]) == ("works", "rewarded")


def test_what_was_tried_is_written_when_asked_for_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tested.json"
    file.write_text("{}")
    monkeypatch.delenv("VIRC_RECORD", raising=False)
    tested.compared("virc", "rl", 480, 10, file)
    assert file.read_text() == "{}"
    monkeypatch.setenv("VIRC_RECORD", str(tmp_path))
    tested.compared("virc", "rl", 480, 10, file)
    tested.solved("virc", 3, 2, file)
    tested.compared("curr-reft", "open", 600, 1, file)
    tested.compared("curr-reft", "judge", 417, 0, file)
    written = json.loads(file.read_bytes())
    assert written["virc"]["rewards"]["rl"] == {"cases": 480, "differ": 10}
    assert written["virc"]["solved"]["replies"] == 3
    assert [*written["curr-reft"]["rewards"]] == ["judge", "open"]  # as the system has them


def test_records_are_of_stages_that_there_are_and_of_all_cases() -> None:
    assert {"virc", "grip", "vlm-r3"} <= state.tested().keys()  # of this package, and of the folders of systems
    for name, record in state.tested().items():
        assert {*record.stages, *record.rewards} <= systems.get(name).stages.keys()
    cases = {name: published_rewards.read(name) for name in published_rewards.NAMES}
    for file in cases.values():
        for stage in tested.stages_of(file):
            record = state.tested()[file.system]
            assert record.rewards[stage].cases == sum(len(case.rollouts) for case in file.cases)


def a_run(folder: Path, overlays: Sequence[str] = ("cpu",), **settings: object) -> Path:
    """A finished run of `virc rl` with two rollouts, as far as a record reads it."""
    config, published = (stages.resolve(systems.get("virc"), "rl", chosen).config for chosen in (overlays, ()))
    told = msgspec.to_builtins(config) | {"reward": msgspec.to_builtins(published.reward)} | settings
    texts = dict.fromkeys("created base root data dataset environment device python recipes launcher".split(), "")
    numbers = {"rows": 1, "longest": 1}
    info = {"name": "r", "system": "virc", "stage": "rl", "kind": "rl", "settings": told, "origins": {}}
    folder.mkdir()
    (folder / "run.json").write_bytes(msgspec.json.encode({**texts, **numbers, **info, "overlays": overlays}))
    (folder / "metrics.jsonl").write_text('{"step": 2}\n')
    names = ("format", "answer", "reasoning", "focus", "tool_choice")
    for value in (0, 1):
        trace = folder / "rollouts" / "step_1" / str(value) / "trace.json"
        trace.parent.mkdir(parents=True)
        trace.write_text(json.dumps({"terms": dict.fromkeys(names, value)}))
    return folder


def test_a_run_is_recorded_with_its_own_settings_and_each_term_high_and_low(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tested.json"
    file.write_text("{}")
    monkeypatch.setenv("VIRC_RECORD", "1")
    monkeypatch.setattr(published_rewards, "compare", partial(published_rewards.compare, all_cases=False))
    tested.ran(a_run(tmp_path / "own", n=2, train_batch_size=2), "rl", file=file)
    ran = json.loads(file.read_bytes())["virc"]["stages"]["rl"]
    assert (ran["steps"], ran["rows"], ran["terms"]["focus"]) == (2, "rl", [0, 1])
    with pytest.raises(AssertionError, match=r"other settings than its stage: \{'learning_rate': 0\.5\}"):
        tested.ran(a_run(tmp_path / "other", learning_rate=0.5), "rl", file=file)
    with pytest.raises(AssertionError):
        tested.ran(a_run(tmp_path / "overlay", overlays=("cpu", "3b")), "rl", file=file)
    one = a_run(tmp_path / "one")
    shutil.rmtree(one / "rollouts" / "step_1" / "1")
    with pytest.raises(AssertionError, match=r"focus was seen from 0 to 0\.5, not on both sides of 0\.5"):
        tested.ran(one, "rl", [{"format": 1.0}], file=file)


def test_ls_has_a_line_for_each_system_grouped_by_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nmodels: {m: {}}\nstages: {one: {kind: sft}}\n")
    monkeypatch.setenv("VIRC_PATH", str(tmp_path))
    monkeypatch.setattr(state, "tested", lambda: tried(*ALL))
    done = virc("systems", "ls")
    lines = [line.split(maxsplit=2) for line in done.out.splitlines()]
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
    assert "the page *Systems*" in done.err


@pytest.mark.parametrize("name", [name for name, each in systems.discover().items() if each.assumed])
def test_an_assumption_says_what_the_yaml_has(name: str) -> None:
    system = systems.get(name)
    for each in system.assumed:
        path = tuple(each.key.split("."))
        if each.value is None:
            assert dotted.at(plain_yaml.read(system.file), path), each.key
            continue
        of = [each.stage] if each.stage else [*system.stages]
        for stage in of:
            assert dotted.at(msgspec.to_builtins(stages.resolve(system, stage).config), path) == each.value, each.key
            other = "elsewhere" if isinstance(each.value, str) else 2
            changed = stages.resolve(system, stage, assignments=[f"{each.key}={other}"]).config
            assert dotted.at(msgspec.to_builtins(changed), path) == other, each.key


def test_equal_assumptions_of_two_systems_have_one_text() -> None:
    texts = defaultdict[tuple[str, str], set[tuple[str, str]]](set)
    for system in systems.discover().values():
        for each in system.assumed:
            if each.value is not None:
                texts[each.key, str(each.value)].add((each.why, each.others))
    assert texts["n", "8"]
    assert [key for key, found in texts.items() if len(found) > 1] == []


def test_a_system_with_assumptions_is_reconstructed_and_lists_them(monkeypatch: pytest.MonkeyPatch) -> None:
    star = systems.get("star-r1")
    reached = state.of_system(star, listed.rows()["star-r1"])
    assert (reached.kind, reached.what.split(":")[0]) == ("reconstructed", f"{len(star.assumed)} assumptions")
    assert "to be supplied" in str(state.of_system(msgspec.structs.replace(star, assumed=()), listed.rows()["star-r1"]))
    lines = virc("systems", "show", "star-r1").out.splitlines()
    plan = virc("systems", "show", "star-r1", "--stage", "rl").out.splitlines()
    for each in star.assumed:
        assert str(each) in lines
        assert f"note: {each}" in plan


def test_defaults_of_a_reconstructed_stage_are_assumptions_too() -> None:
    def left(name: str, stage: str = "rl", *assignments: str) -> str:
        notes = stages.resolve(systems.get(name), stage, assignments=assignments).notes
        return next((note for note in notes if note.startswith("assumed too")), "")

    assert "train_batch_size 64, epochs 1" in left("star-r1")
    assert "learning_rate" not in left("star-r1")  # which is among its assumptions
    assert "train_batch_size" not in left("star-r1", "rl", "train_batch_size=8")
    assert not left("vision-g1", "round-1")  # whose script is published
    assert not left("deepeyes")


def test_assumptions_name_their_stage_and_the_value_that_an_overlay_leaves() -> None:
    reached = state.of_system(systems.get("grip"), listed.rows()["grip"])
    assert "learning_rate of instruct, n of rl, learning_rate of rl" in reached.what
    assert reached.what.startswith(f"{len(systems.get('grip').assumed)} assumptions: ")
    notes = stages.resolve(systems.get("visreason"), "instruct", ["full"]).notes
    assert any(note.startswith("assumed: lora.rank 16, here null: ") for note in notes)


def test_what_planned_systems_need_is_said_in_words() -> None:
    lines = virc("systems", "ls", "--state", "planned").out.splitlines()
    needed = [line.split("needs: ")[1].split(", ") for line in lines]
    assert {need for each in needed for need in each} <= listed.components().keys()
    assert not any(re.fullmatch(r"[A-Z]-[a-z]{1,7}", need) for need in listed.components())


def test_json_of_ls_has_all_fields_and_keeps_to_its_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nabout: b\nmodels: {m: {}}\nstages: {one: {kind: sft}}\n")
    monkeypatch.setenv("VIRC_PATH", str(tmp_path))
    printed = virc("systems", "ls", "--json").json
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(printed, SCHEMA)
    assert [each["row"] for each in printed["field"]] == list(range(1, 72))
    assert printed["systems"][-1] == {
        "name": "mine", "about": "b", "state": "own", "what": str(tmp_path / "mine.yaml"),
        "stages": {"one": "sft"}, "levels": {}, "models": ["m"], "from": str(tmp_path / "mine.yaml"),
    }  # fmt: skip
    (reasoner,) = (each for each in printed["field"] if each["name"] == "pixel-reasoner")
    assert (reasoner["repo"], reasoner["state"]) == ("TIGER-AI-Lab/Pixel-Reasoner", "planned")
    assert reasoner["lacks"]["frames of videos"] == ""
    assert set(SCHEMA["$defs"]["state"]["enum"]) == set(get_args(Support)) == set(get_args(Kind))


@pytest.mark.parametrize("kind", get_args(Support))
def test_ls_shows_the_systems_of_each_state(kind: str) -> None:
    done = virc("systems", "ls", "--state", kind)
    assert done.code == 0, done.err
    assert {line.split()[0] for line in done.out.splitlines()} <= {kind}


def test_ls_shows_a_part_alone() -> None:
    unsupported = virc("systems", "ls", "--state", "unsupported").out.splitlines()
    assert [line.split()[1] for line in unsupported] == [
        each.name for each in listed.rows().values() if each.unsupported
    ]
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
    assert lines[1].startswith("state        planned: needs: ")
    assert "published    Pixel Reasoner, number 8 of the field" in lines
    assert "  code       https://github.com/TIGER-AI-Lab/Pixel-Reasoner" in lines
    cells = (re.split(r"  +", line.strip()) for line in lines[lines.index("needs") + 1 :])
    needs = {name: (there, about) for name, there, about in cells}
    assert needs["frames of videos"][0] == "missing"
    assert needs["GRPO"][0] == "there"
    assert needs["crops"][0] == "partly"
    assert needs["crops"][1].endswith("; not a margin of a tenth around the box")
    printed = virc("systems", "show", "pixel-reasoner", "--json").json
    assert (printed["file"], printed["stages"], printed["published"]["row"]) == (None, None, 8)
    assert printed["published"]["needs"]["frames of videos"]["there"] is False
    for name in ("internvl3.5", "vogue"):
        shown, text = (virc("systems", "show", name, *words) for words in (("--json",), ()))
        for key, head in (("unknown", "not public"), ("reported", "reported"), ("outside", "outside")):
            told = f"  {head:<11}{shown.json['published'][key]}" in text.out.splitlines()
            assert told is bool(shown.json["published"][key]), (name, key)
    assert "  repeat_limit  0" in virc("systems", "show", "deepeyes").out.splitlines()
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
    assert done.err.startswith("error: pixel-reasoner is planned: needs: ")
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
