"""`virc systems ls|show|new`, and systems of one's own wherever a system is named."""

import os
import re
import shutil
from pathlib import Path

import pytest
from support.called import virc
from support.tables import each_case

from virc.models import registry as models
from virc.models.registry import EMBEDDED_FOLDER
from virc.stages import resolve as stages
from virc.systems import registry as systems

MINE = """# mine, of all
name: mine
about: a model of my own
models:
  mymodel: {folder: weights}   # beside this file
stages:
  one:
    kind: sft
    settings: {base: ./weights, data: "../rows/é {kind}.json", variant: {kind: a}, learning_rate: 1e-5}  # slow
overlays:
  o:
    about: "more: rows"
    settings: {data: ../rows/more.json}
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The folder of a system with paths in it."""
    folder = tmp_path / "systems"
    folder.mkdir()
    (folder / "mine.yaml").write_text(MINE)
    return folder


def test_show_says_what_a_system_is() -> None:
    text = virc("systems", "show", "virc").out
    for part in (
        "coordinates  pixel",
        "hub LeonMiao/ViRC-Qwen2VL-2B, coordinates permille",
        "stage instruct: kind sft, base Qwen/Qwen2.5-VL-7B-Instruct, data CRUX/",
        "variant scale dynamic, rows 50K",
        "  CRUX  hub LeonMiao/CRUX",
        "  permille  CRUX/ViRC_stage_2_PracSFT_scale_fixed_50K",
        "stage practice: kind sft, after instruct",
        "notes: epochs: the comment at the head of the published script says 2, its key says 3",
        *(f"\nnote: {each}" for each in ("EXIF turns: ", "JPEG quality: ", "temperatures of the tries", "seeds: ")),
        "temperature 0; top_p and top_k are left to the server",
    ):
        assert part in text
    for name, overlay in systems.get("virc").overlays.items():
        (line,) = (line for line in text.splitlines() if line.split()[0] == name)
        assert overlay.about in line


SETTINGS = "base: tiny-base, data: d/t, learning_rate: 1e-3, train_batch_size: 1, devices: 1, zero: 0"


def test_notes_of_a_system_are_shown_with_it_with_its_stages_and_before_a_run(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    stage = f"{{kind: sft, settings: {{{SETTINGS}}}, differs: [k as it is here], notes: [of the stage]}}"
    file.write_text(f"name: x\nnotes: [of the system]\nstages: {{one: {stage}}}\n")
    assert "note: of the system\n" in virc("systems", "show", file).out
    assert virc("systems", "show", file, "--json").json["notes"] == ["of the system"]
    both = ["k as it is here", "of the system", "of the stage"]
    assert virc("systems", "show", file, "--stage", "one", "--json").json["stage"]["notes"] == both
    plan = ("train", file, "--stage", "one", "--dry-run")
    assert "\n".join(("# notes", *both)) in virc(*plan).out
    assert virc(*plan, "--json").json["notes"] == both


def test_an_assumption_says_the_value_that_will_be_used(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    assumed = "{key: learning_rate, value: 0.001, why: w, others: o}"
    stage = f"{{kind: sft, settings: {{{SETTINGS}}}}}"
    file.write_text(f"name: x\nassumed: [{assumed}]\nstages: {{one: {stage}}}\n")
    said, changed = (f"assumed: learning_rate 0.001{here}: w; as plausible: o" for here in ("", ", here 0.002"))
    number = "1 assumption, where nothing was published"
    plan = ("train", file, "--stage", "one", "--dry-run", "--json")
    assert virc(*plan).json["notes"][:2] == [number, said]
    assert virc(*plan, "--set", "learning_rate=2e-3").json["notes"][:2] == [number, changed]
    adapter = virc("systems", "show", "star-r1", "--stage", "rl", "--with", "lora").out
    assert "learning_rate 1e-06, here 1e-05" in adapter


def test_show_prints_every_setting_of_a_stage_and_where_it_comes_from() -> None:
    words = ("systems", "show", "virc", "--stage", "instruct", "--with", "3b,lora", "--set", "epochs=2")
    rows = {line.split()[0]: line.split() for line in virc(*words).out.split("\n\n")[0].splitlines()}
    assert rows["base"] == ["base", "Qwen/Qwen2.5-VL-3B-Instruct", "overlay", "3b"]
    assert rows["lora.rank"] == ["lora.rank", "16", "overlay", "lora"]
    assert rows["epochs"] == ["epochs", "2.0", "--set"]
    assert rows["warmup_ratio"] == ["warmup_ratio", "0.03", "virc"]
    assert rows["nodes"] == ["nodes", "1", "default"]
    found = virc(*words, "--json").json["stage"]
    assert found["overlays"] == ["3b", "lora"]
    assert found["settings"]["epochs"] == {"value": 2.0, "from": "--set"}
    config = stages.resolve(systems.get("virc"), "instruct").config
    assert {name.split(".")[0] for name in found["settings"]} == set(config.__struct_fields__)


def test_failures_have_the_keys_of_success() -> None:
    for words in (["show", "virc"], ["ls"]):
        good = virc("systems", *words, "--json").json
        module = __import__(f"virc_cli.commands.systems.{words[0]}", fromlist=["FAILURE"])
        assert {"schema", *module.FAILURE, "error"} == set(good)


def test_a_new_system_and_its_row_pass_check_and_its_stages_resolve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("virc_extras")  # virc systems check
    monkeypatch.chdir(tmp_path)
    done = virc("systems", "new", "fresh")
    assert (done.code, "virc train ./fresh.yaml --stage instruct" in done.err) == (0, True)
    assert virc("systems", "check", "fresh.yaml").code == 0
    assert virc("data", "check", "fresh.jsonl", "--system", "./fresh.yaml").code == 0
    found = systems.get("./fresh.yaml")
    assert found.name == "fresh"
    assert set(found.__struct_fields__) - {"replace", "file", "pipeline", "assumed", "rows_of", "support", "needs"} == {
        name for name in found.__struct_fields__ if getattr(found, name)
    } - {"file"}
    for stage in found.stages:
        for overlay in ((), ("lora",)):
            assert stages.resolve(found, stage, overlay).config.device == "cpu"


def test_neither_list_nor_page_runs_what_a_system_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("loud_total", "loud_pipeline", "loud_tool"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (tmp_path / "loud.yaml").write_text(
        "name: loud\nabout: a trap\nreward: {total: ./loud_total.py}\npipeline: ./loud_pipeline.py\n"
        "tools: [loud_tool]\nstages: {one: {kind: sft}}\n"
    )
    monkeypatch.setenv("VIRC_PATH", str(tmp_path))
    for words in (("ls",), ("ls", "--all", "--json"), ("show", "loud"), ("show", "loud", "--json")):
        done = virc("systems", *words)
        assert (done.code, "loud" in done.out, "left out" in done.err) == (0, True, False), done
    assert not (tmp_path / "ran").exists()


@each_case(
    ("file", "content", "named"),
    [
        ("a.yaml", b"name: [", "a.yaml is not YAML at line 1"),
        ("b.yaml", b"name: b\nstagez: 1\n", "b.yaml:2: unknown key 'stagez'\nhint: did you mean 'stages'?"),
        ("c.yml", b"\xff\xfe", "c.yml is not UTF-8 text"),
        ("d.yaml/of", b"", "cannot read {}/d.yaml: is a directory"),
        ("e/system.yaml", b"name: e\n- f\n", "e/system.yaml is not YAML at line 2"),
        ("taken.yaml", b"name: virc\n", "{}/taken.yaml names its system 'virc', as "),
        ("other.yaml", b"name: virc\nreplace: true\nx: 1\n", "other.yaml:3: unknown key 'x'"),
    ],
)
def test_a_file_that_cannot_be_read_is_left_out_and_named(
    file: str, content: bytes, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(content)
    (tmp_path / "mine.yaml").write_text(MINE)
    os.mkfifo(tmp_path / "pipe.yaml")  # not waited for
    monkeypatch.setenv("VIRC_PATH", str(tmp_path))
    listed = virc("systems", "ls", "--json")
    assert (listed.code, "mine" in [each["name"] for each in listed.json["systems"]]) == (0, True), listed.err
    assert "warning: left out: " in listed.err
    assert named.format(tmp_path) in listed.err
    name = {"d.yaml/of": "d", "e/system.yaml": "e", "other.yaml": "virc", "taken.yaml": "virc"}.get(file, file[:1])
    asked_for = virc("systems", "show", name)
    assert (asked_for.code, named.format(tmp_path) in asked_for.err) == (3, True), asked_for.err
    assert virc("systems", "show", "mine").code == 0


def test_a_new_system_trains_on_drawn_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    virc("systems", "new", "fresh", "--to", "mine/fresh.yaml")
    done = virc("data", "synth", "--to", "data/polygons", "--count", "2", "--seed", "1", "--formats", "sft")
    assert done.code == 0, done.err
    from virc.training import inputs as training

    resolved = stages.resolve(systems.get("mine/fresh.yaml"), "instruct")
    assert resolved.config.data_name() == "polygons/trajectories"
    assert training.base(resolved, tmp_path).folder == EMBEDDED_FOLDER
    assert training.rows(resolved, tmp_path).name == "trajectories"


def test_the_only_model_of_a_system_of_ones_own_is_found(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(EMBEDDED_FOLDER, mine / "weights")
    monkeypatch.setenv("VIRC_PATH", str(mine))
    monkeypatch.chdir(tmp_path)
    for system, name in (("mine", None), (str(mine / "mine.yaml"), None), (None, "mymodel")):
        assert models.find(name, tmp_path, system).folder == mine / "weights"


def test_show_prints_what_the_model_is_told_a_call_that_is_read_and_the_limits() -> None:
    pytest.importorskip("virc_extras")  # virc systems check
    for name in ("deepeyes", "mini-o3", "vlm-r3", "qwen3-vl", "chain-of-focus", "tiny"):
        shown = virc("systems", "show", name, "--json").json
        checked = virc("systems", "check", name, "--reply", shown["example_call"], "--json").json
        assert [each["error"] for each in checked["replies"][0]["calls"]] == [None]
        assert shown["sent"] == checked["sent"]
    out = virc("systems", "show", "mini-o3").out
    assert re.search(r"\n  crop_pixels +40000, 2000000\n", out)
    assert re.search(r"\ntold as system\n\S", out)
    assert re.search(r"\ntold as user\n<image 0: ", out)
    assert re.search(r"\nexample_call <think>\.\.\.</think>\n<grounding>\{", out)
