"""How far a system is supported follows from files: what it needs, what is there, and what ran."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import jsonschema
import msgspec
import pytest
from support import tested
from support.called import virc
from support.entry import ROOT

from virc.stages import resolve as stages
from virc.systems import published as listed
from virc.systems import registry as systems
from virc.systems.catalog import digests
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
        "A": Component("a", ("stages/rl.py",)),
        "B": Component("b", ("stages/rl.py",), lacks={"r": "a corner"}),
        "C": Component("c", ("stages/rl.py", "gone.py")),
        "D": Component("d"),
        "D-x": Component("how rows are made"),
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
        ({"needs": ["D"], "unknown": "its weights"}, "to be supplied: its weights; needs D"),
        ({"needs": ["A"], "unsupported": "it paints"}, "unsupported: it paints"),
        ({"needs": ["A"], "outside": "a robot"}, "planned: needs a YAML alone"),
    ],
)
def test_a_system_without_a_yaml_lacks_what_is_not_there(fields: dict[str, object], wanted: str) -> None:
    assert str(listed.of_listed(row(**fields))) == wanted


def tried(*stages: str, rewards: bool = True, solved: bool = True, **stale: str) -> dict[str, Record]:
    """A record of `virc`, whose digests are those of now but for the parts that are `stale`."""
    system = systems.get("virc")
    ran = {stage: Ran("verl 0.9.1", 2, "rl", {**digests.of_run(system, stage), **stale}) for stage in stages}
    compared = {"rl": Compared(480, 10, {**digests.of_reward(system, "rl"), **stale})} if rewards else {}
    answered = Solved(3, 2, {**digests.of_replies(system), **stale}) if solved else None
    return {"virc": Record(ran, compared, answered)}


@pytest.mark.usefixtures("components")
@pytest.mark.parametrize(
    ("told", "fields", "wanted"),
    [
        (tried(*ALL), {"needs": ["A"]}, "works"),
        (tried(*ALL), None, "works"),
        (tried("rl", "instruct"), None, "partly: practice did not run yet"),
        (tried(*ALL, envs="0"), None, "partly: instruct changed since it ran (envs)"),
        (tried(*ALL, rewards=False), None, "ran: rl has a reward that no test holds against the published one"),
        (tried(*ALL, solved=False), None, "ran: not tried whether a conversation in its grammar was answered"),
        (tried(*ALL), {"needs": ["A", "D"]}, "partly: needs D"),
        (tried(*ALL), {"needs": ["A", "D-x"]}, "works: without D-x"),
        (tried(*ALL), {"outside": "a robot"}, "partly: not: a robot"),
        (tried("instruct", "practice"), {"unknown": "x"}, "partly: rl did not run yet; to be supplied: x"),
    ],
)
def test_a_system_works_when_all_of_it_was_tried_as_it_is_now(
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
    assert reached(tried(*ALL, tools="0")) == ("none", False)
    assert reached({}) == ("none", False)


def test_a_system_of_ones_own_is_nobodys_to_test(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\n")
    assert state.of_system(systems.load(file), None) == State("own", str(file))


def test_a_system_whose_reward_is_not_public_says_so() -> None:
    reward = systems.Reward(total=None, supply="the weights")
    closed = msgspec.structs.replace(systems.get("virc"), reward=reward)
    assert str(state.of_system(closed, None)) == "to be supplied: the weights"


STAGE = "stages: {one: {kind: sft, settings: {base: b}, notes: [c]}, two: {kind: sft}}\n"


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("name: a  # x\nabout: c\nnotes: [d]\n" + STAGE.replace("[c]", "[e]"), False),
        ("name: a\nsampling: {temperature: 1}\n" + STAGE, True),
        ("name: a\n" + STAGE.replace("base: b", "base: c"), True),
        ("name: a\n" + STAGE.replace("two", "three"), False),
    ],
    ids=["comments and notes", "sampling", "a setting", "another stage"],
)
def test_what_a_yaml_says_of_a_stage_changes_its_digest(text: str, changes: bool, tmp_path: Path) -> None:
    found = []
    for number, each in enumerate(("name: a\nabout: b\n" + STAGE, text)):
        file = tmp_path / f"{number}.yaml"
        file.write_text(each)
        found.append(digests.of_run(systems.load(file), "one"))
    assert digests.changed(*found) == (["yaml"] if changes else [])


def test_the_files_behind_a_stage_are_its_tools_its_reward_and_its_engine_with_what_they_import() -> None:
    def behind(system: str, stage: str) -> set[str]:
        found = digests.files(systems.get(system), stage)
        return {file.relative_to(digests.ROOT).as_posix() for file in found}

    rl = behind("vlm-r3", "rl")
    assert rl >= {
        "rewards/totals/vlm_r3.py", "rewards/terms/tools.py", "rewards/judges/vlm-r3.yaml", "rewards/verl.py",
        "rewards/registry.py", "rewards/sample.py", "scoring/symbolic.py", "tools/zoom.py", "tools/crop.py",
        "reasoning/history.py", "reasoning/coordinates.py", "engines/verl/agent.py", "engines/verl/keys.json",
        "engines/table.py", "stages/rl.py", "envs/rl.yaml", "envs/rl-cpu.txt",
    }  # fmt: skip
    assert not rl & {"rewards/totals/virc.py", "rewards/terms/boxes.py", "tools/scale.py", "envs/sft.yaml"}
    judges = {"rewards/judges/v-thinker.yaml", "rewards/judges/v-thinker-consistency.yaml"}
    assert behind("v-thinker", "rl") >= judges
    assert behind("thyme", "rl") >= {*judges, "rewards/totals/v_thinker.py"}  # which its terms are of
    assert "rewards/judges/deepeyes.yaml" not in behind("vigorl", "search")  # of that it takes a function alone
    sft = behind("vlm-r3", "instruct")
    assert sft >= {"engines/llamafactory/start.py", "tools/zoom.py", "stages/sft.py", "envs/sft-cpu.txt"}
    assert not [file for file in sft if file.startswith(("rewards/", "engines/verl/"))]
    assert not {"stages/rl.py", "stages/resolve.py"} & sft  # a further kind of stage changes no record
    assert "rewards/terms/boxes.py" in behind("visual-rft", "detect")
    assert "rewards/totals/deepeyes.py" in behind("chain-of-focus", "rl")  # its judge is asked the same


def test_digests_that_are_kept_equal_those_of_files_read_again() -> None:
    stages = [(systems.get(name), stage) for name, stage in (("vlm-r3", "rl"), ("virc", "rl"), ("vlm-r3", "instruct"))]
    kept = [digests.of_run(*each) for each in stages]
    for each, known in zip(stages, kept, strict=True):
        digests.forget()
        assert digests.of_run(*each) == known
    assert kept[0] != kept[1]


def test_the_state_of_a_system_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found, of_system = list[str](), state.of_system
    monkeypatch.setattr(state, "of_system", lambda system, row: found.append(system.name) or of_system(system, row))
    state.states()
    assert sorted(found) == sorted(systems.discover())


BREAKS = """
import collections, pathlib, sys
import virc
from virc.systems import registry as systems
from virc.systems.catalog import digests, support

assert pathlib.Path(virc.__file__).is_relative_to(sys.argv[1])
works = {name for name, state in support.states().items() if state.kind == "works"}
behind = collections.defaultdict(set)
for name in works:
    for stage in systems.get(name).stages:
        for file in digests.files(systems.get(name), stage):
            behind[file].add(name)
for file, names in behind.items():
    whole = file.read_bytes()
    file.write_bytes(b"raise RuntimeError('broken')\\n")
    digests.forget()
    for name in names:
        if support.of_system(systems.get(name), None).kind == "works":
            print("still works", name, file)
    file.write_bytes(whole)
digests.forget()
assert {name for name, state in support.states().items() if state.kind == "works"} == works
print(*sorted(works))
"""


@pytest.mark.integration
def test_breaking_any_file_behind_a_system_takes_away_that_it_works(tmp_path: Path) -> None:
    copied = tmp_path / "recipes"
    shutil.copytree(ROOT / "recipes" / "virc", copied / "virc", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-c", BREAKS, str(copied)], env={**os.environ, "PYTHONPATH": str(copied)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    works = [name for name, found in state.states().items() if found.kind == "works"]
    assert done.stdout.splitlines() == [" ".join(sorted(works))]
    assert len(works) >= 4


def test_systems_are_listed_where_a_file_behind_them_is_broken(tmp_path: Path) -> None:
    copied = tmp_path / "recipes"
    shutil.copytree(ROOT / "recipes" / "virc", copied / "virc", ignore=shutil.ignore_patterns("__pycache__"))
    (copied / "virc" / "rewards" / "totals" / "vlm_r3.py").write_text("raise RuntimeError\n")
    words = [sys.executable, "-m", "virc_cli", "systems", "ls", "--json"]
    paths = os.pathsep.join((str(copied), str(ROOT)))
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True)
    (found,) = (each for each in json.loads(done.stdout)["systems"] if each["name"] == "vlm-r3")
    assert (found["state"], found["levels"]["rl"]) == ("partly", "none")


def test_what_was_tried_is_of_stages_that_there_are_in_the_engines_that_are_pinned() -> None:
    for name, told in state.tested().items():
        system = systems.get(name)
        assert told.stages.keys() | told.rewards.keys() <= system.stages.keys()
        for stage, ran in told.stages.items():
            assert ran.engine == tested.engine(system.stages[stage].kind)
            assert ran.steps >= 1
        for compared in told.rewards.values():
            assert compared.cases >= 300


def test_what_was_tried_is_written_when_asked_for_and_else_held_against(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tested.json"
    file.write_text("{}")
    monkeypatch.delenv("VIRC_RECORD", raising=False)
    with pytest.raises(AssertionError, match="run this test with VIRC_RECORD=1, commit tested"):
        tested.compared("virc", "rl", 480, 10, file)
    monkeypatch.setenv("VIRC_RECORD", "1")
    tested.compared("virc", "rl", 480, 10, file)
    tested.solved("virc", 3, 2, file)
    written = json.loads(file.read_bytes())["virc"]
    assert written["rewards"]["rl"]["digests"] == digests.of_reward(systems.get("virc"), "rl")
    assert written["solved"]["replies"] == 3
    monkeypatch.delenv("VIRC_RECORD")
    tested.compared("virc", "rl", 480, 10, file)
    with pytest.raises(AssertionError, match="VIRC_RECORD=1"):
        tested.compared("virc", "rl", 480, 9, file)
    with pytest.raises(AssertionError, match="VIRC_RECORD=1"):
        tested.solved("virc", 3, 3, file)


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
        "stages": {"one": "sft"}, "levels": {}, "models": ["m"], "from": str(tmp_path / "mine.yaml"),
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
