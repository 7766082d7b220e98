"""`virc systems ls|show|cp|new`, and systems of one's own wherever a system is named."""

import json
import re
import shutil
from pathlib import Path

import pytest
from support import zoo
from support.called import virc

from virc.core.errors import ConfigError
from virc.models import registry as models
from virc.models.chat_protocol import of_system
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.resize import QWEN2
from virc.solving import reading
from virc.stages import resolve as stages
from virc.systems import registry as systems
from virc.tools import registry as tools

PICTURE = Path(__file__).resolve().parents[1] / "pictures" / "triangle.png"
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


def test_ls_names_the_file_that_is_wrong(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (mine / "mine.yaml").write_text("name: mine\nmodls: {}\n")
    monkeypatch.setenv("VIRC_PATH", str(mine))
    done = virc("systems", "ls", "--json")
    assert (done.code, done.json["systems"]) == (3, None)
    assert f"{mine / 'mine.yaml'}:2: unknown key 'modls'" in done.err


def test_show_says_what_a_system_is() -> None:
    text = virc("systems", "show", "virc").out
    for part in (
        "coordinates  pixel",
        "LeonMiao/ViRC-Qwen2VL-2B  permille",
        "instruct (sft) from Qwen/Qwen2.5-VL-7B-Instruct, data CRUX/",
        "(scale dynamic, rows 50K)",
        "  CRUX  LeonMiao/CRUX  data/CRUX",
        "chat protocol of models with boxes in permille: as CRUX/ViRC_stage_2_PracSFT_scale_fixed_50K shows it",
        "practice (sft) after instruct",
        "note: epochs: the comment at the head of the published script says 2, its key says 3",
        *(f"\nnote: {each}" for each in ("EXIF turns: ", "JPEG quality: ", "temperatures of the tries", "seeds: ")),
        "temperature 0; top_p and top_k are left to the server",
    ):
        assert part in text
    for name, overlay in systems.get("virc").overlays.items():
        (line,) = (line for line in text.splitlines() if line.split()[0] == name)
        assert overlay.about in line
        assert line.endswith("never run")


def test_show_says_which_texts_are_from_which_repository() -> None:
    found = {each["source"]: each["texts"] for each in virc("systems", "show", "thyme", "--json").json["texts"]}
    assert found == {"yfzhang114/Thyme": ["system", "user"], "We-Math/V-Thinker": ["judge"]}


def test_show_names_the_pipeline_of_a_system() -> None:
    done = virc("systems", "show", "prism")
    assert "what the model is told" not in done.out
    assert f"\npipeline     {zoo.FOLDER}/prism/pipeline.py\n" in done.out
    both = virc("systems", "show", "visrl").out  # a trained model with a pipeline
    assert "what the model is told" in both
    assert f"\npipeline     {zoo.FOLDER}/visrl/pipeline.py\n" in both


SETTINGS = "base: tiny-base, data: d/t, learning_rate: 1e-3, train_batch_size: 1, devices: 1, zero: 0"


def test_notes_of_a_system_are_shown_with_it_with_its_stages_and_before_a_run(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    stage = f"{{kind: sft, settings: {{{SETTINGS}}}, notes: [of the stage]}}"
    file.write_text(f"name: x\nnotes: [of the system]\nstages: {{one: {stage}}}\n")
    assert "note: of the system\n" in virc("systems", "show", file).out
    assert virc("systems", "show", file, "--json").json["notes"] == ["of the system"]
    both = ["of the system", "of the stage"]
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


def test_show_prints_where_an_overlay_has_run(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("name: x\noverlays: {o: {about: small, verified: {one: 'a card, 3.1 GiB'}}}\n")
    assert "one: a card, 3.1 GiB" in virc("systems", "show", file).out


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


def test_show_prints_what_is_changed_from_published() -> None:
    stage = virc("systems", "show", "virc", "--stage", "practice", "--json").json["stage"]
    changed = {row["key"]: row for row in stage["changed"]}
    assert stage["published"]["flash_attn"] == "fa2"
    assert (changed["flash_attn"]["ours"], "flash-attn" in changed["flash_attn"]["why"]) == ("sdpa", True)
    assert not {"learning_rate", "num_train_epochs", "cutoff_len", "image_min_pixels"} & set(changed)
    with_more = ("systems", "show", "virc", "--stage", "practice", "--set", "epochs=1")
    text = virc(*with_more).out
    stage = virc(*with_more, "--json").json["stage"]
    whole, same = len(stage["published"]), len(stage["published"].keys() - {row["key"] for row in stage["changed"]})
    assert f"changed from published ({same} of {whole} keys are the same)" in text
    assert 0 < same < whole
    (line,) = (line for line in text.splitlines() if "num_train_epochs" in line)
    assert line.split() == ["num_train_epochs", "6", "1.0", "--set"]


def test_a_stage_without_a_published_script_has_no_such_table() -> None:
    done = virc("systems", "show", "tiny", "--stage", "instruct")
    assert (done.code, "published" in done.out) == (0, False)


def test_show_warns_of_settings_that_make_no_sense_together() -> None:
    done = virc("systems", "show", "virc", "--stage", "instruct", "--set", "devices=1")
    assert done.code == 0
    assert "warning: zero 3 spreads over devices, and there is only one\nhint: zero: 0\n" in done.err


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        (["vric"], 3, "there is no system 'vric'", "did you mean 'virc'?"),
        (["virc", "--stage", "instuct"], 2, "virc has no stage 'instuct'", "did you mean 'instruct'?"),
        (["virc", "--stage", "1", "--with", "3b"], 2, "virc has no stage '1'", "did you mean 'instruct'?"),
        (["virc", "--stage", "instruct", "--with", "3bb"], 2, "virc has no overlay '3bb'", "did you mean '3b'?"),
        (["virc", "--stage", "instruct", "--set", "epoch=1"], 3, "unknown setting 'epoch' (--set)",
         "did you mean 'epochs'?"),
        (["virc", "--set", "seed=1"], 2, "--with and --set choose settings of a stage", "--stage instruct"),
        (["virc", "--with", "3b"], 2, "--with and --set choose settings of a stage", "--stage instruct"),
    ],
)  # fmt: skip
def test_show_says_what_was_meant(words: list[str], code: int, message: str, hint: str) -> None:
    done = virc("systems", "show", *words)
    assert (done.code, done.out, done.err) == (code, "", f"error: {message}\nhint: {hint}\n")
    failed = virc("systems", "show", *words, "--json").json
    assert (failed["schema"], failed["stage"], failed["error"]["message"]) == (
        "virc.systems.show/1", None, message,
    )  # fmt: skip


def test_failures_have_the_keys_of_success() -> None:
    for words in (["show", "virc"], ["check", "virc"], ["ls"]):
        good = virc("systems", *words, "--json").json
        module = __import__(f"virc_cli.commands.systems.{words[0]}", fromlist=["FAILURE"])
        assert {"schema", *module.FAILURE, "error"} == set(good)


def test_a_copy_is_another_system_with_the_same_comments_that_passes_check(tmp_path: Path) -> None:
    target = tmp_path / "new" / "ours.yaml"
    assert virc("systems", "cp", "virc", target).code == 0
    original = systems.get("virc").file.read_text()
    assert target.read_text() == original.replace("name: virc\n", "name: ours\n", 1)
    assert virc("systems", "check", target).code == 0


def test_paths_in_a_copy_still_lead_to_the_same(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert virc("systems", "cp", "systems/mine.yaml", "deep/er/copy.yaml", "--name", "other").code == 0
    text = Path("deep/er/copy.yaml").read_text()
    assert [line.partition("#")[2] for line in text.splitlines()] == [
        line.partition("#")[2] for line in MINE.splitlines()
    ]
    before, after = (systems.get(name) for name in ("systems/mine.yaml", "./deep/er/copy.yaml"))
    assert after.name == "other"
    for found in (before, after):
        resolved = stages.resolve(found, "one", ["o"]).config
        assert Path(str(found.models["mymodel"].folder)).resolve() == mine / "weights"
        assert Path(str(resolved.base)).resolve() == mine / "weights"
        assert Path(resolved.data).resolve() == tmp_path / "rows" / "more.json"
        plain = stages.resolve(found, "one").config
        assert Path(plain.data).resolve() == tmp_path / "rows" / "é {kind}.json"


def test_files_of_ones_own_are_found_from_a_copy(mine: Path, tmp_path: Path) -> None:
    file = mine / "tools.yaml"
    reward = "reward: {total: outcome, judge: {questions: asked.yaml}}\n"
    own = f"{MINE}{reward}tools: [crop_image, ./zoom.py]   # one of them my own\n"
    file.write_text(own.replace("name: mine", "name: own"))
    assert virc("systems", "cp", file, tmp_path / "copy.yaml").code == 0
    assert "tools: [crop_image, ./systems/zoom.py]   # one of them my own" in (tmp_path / "copy.yaml").read_text()
    for system in map(systems.load, (file, tmp_path / "copy.yaml")):
        crop, zoom = system.tools
        assert (crop, Path(zoom).resolve()) == ("crop_image", mine / "zoom.py")
        assert system.reward
        assert Path(str(system.reward.judge.questions)).resolve() == mine / "asked.yaml"
    shown = virc("systems", "show", file).out
    assert f"tools        crop_image, {mine / 'zoom.py'}\n" in shown


def test_a_copy_rewrites_rows_as_the_original_does(tmp_path: Path) -> None:
    assert virc("systems", "cp", "reason-rft", tmp_path / "ours.yaml", "--own-words").code == 0
    assert systems.load(tmp_path / "ours.yaml").rows_of == "reason-rft"


def test_a_copy_beside_the_original_keeps_its_paths(mine: Path) -> None:
    assert virc("systems", "cp", mine / "mine.yaml", mine / "copy.yaml").code == 0
    assert 'base: ./weights, data: "../rows/é {kind}.json"' in (mine / "copy.yaml").read_text()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("cp virc there.yaml", "there is a file there.yaml already"),
        ("cp virc link.yaml", "there is a file link.yaml already"),
        ("cp virc x.txt", "x.txt does not end in .yaml"),
        ("cp virc virc.yaml", "there is a system virc already"),
        ("cp virc x.yaml --name tiny", "there is a system tiny already"),
        ("cp virc x.yaml --name a/b", '"a/b" cannot name a system'),
        ("cp nothing x.yaml", "there is no system 'nothing'"),
        ("cp virc there.yaml/x.yaml", "cannot write there.yaml/x.yaml"),
        ("new tiny", "there is a system tiny already"),
        ("new ../x", '"../x" cannot name a system'),
        ("new there", "there is a file there.yaml already"),
        ("new x --to x", "x does not end in .yaml"),
    ],
)
def test_nothing_is_written_over_and_no_name_taken(
    command: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.yaml").write_text("mine")
    Path("link.yaml").symlink_to("nowhere.yaml")
    done = virc("systems", *command.split())
    assert done.code in (2, 3)
    assert f"error: {message}" in done.err
    assert {path.name for path in tmp_path.iterdir()} == {"there.yaml", "link.yaml"}
    assert Path("there.yaml").read_text() == "mine"


def test_a_new_system_passes_check_and_its_stages_resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = virc("systems", "new", "fresh")
    assert (done.code, "virc train ./fresh.yaml --stage instruct" in done.err) == (0, True)
    assert virc("systems", "check", "fresh.yaml").code == 0
    found = systems.get("./fresh.yaml")
    assert found.name == "fresh"
    assert set(found.__struct_fields__) - {"replace", "file", "pipeline", "assumed", "rows_of"} == {
        name for name in found.__struct_fields__ if getattr(found, name)
    } - {"file"}
    for stage in found.stages:
        for overlay in ((), ("lora",)):
            assert stages.resolve(found, stage, overlay).config.device == "cpu"


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


@pytest.mark.integration
def test_solve_takes_the_only_model_of_a_system_of_ones_own(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(EMBEDDED_FOLDER, mine / "weights")
    monkeypatch.setenv("VIRC_PATH", str(mine))
    monkeypatch.chdir(tmp_path)
    words = ["--system", "mine", "--json", "--device", "cpu", "--timeout", 1, "--max-turns", 1]
    done = virc("solve", PICTURE, "In triangle BLA, find m∠L.", *words)
    assert done.code in (0, 6, 8), done.err
    assert (done.json["model"], done.json["protocol"]) == ("mymodel", "trained")


def test_a_model_of_a_system_that_is_not_there_names_the_line_to_mend(mine: Path) -> None:
    with pytest.raises(ConfigError, match=f"no model is in {mine / 'weights'}") as caught:
        models.find("mymodel", mine, str(mine / "mine.yaml"))
    assert caught.value.hint == f"mend `folder` of mymodel in {mine / 'mine.yaml'}"


def test_show_prints_what_the_model_is_told_a_call_that_is_read_and_the_limits() -> None:
    for name in ("deepeyes", "mini-o3", "vlm-r3", "qwen3-vl", "chain-of-focus", "tiny"):
        shown = virc("systems", "show", name, "--json").json
        checked = virc("systems", "check", name, "--reply", shown["example_call"], "--json").json
        assert [each["error"] for each in checked["replies"][0]["calls"]] == [None]
        assert shown["sent"] == checked["sent"]
    out = virc("systems", "show", "mini-o3").out
    assert re.search(r"\n  crop_pixels +\[40000, 2000000\]\n", out)
    assert re.search(r"\n  most_calls +1\n", out)
    assert not re.search(r"\n  \w+ +-\n", out)
    assert re.search(r"\n  system +\S", out)
    assert re.search(r"\n  user +.*<image 0: ", out)
    assert re.search(r"\n  may reply  <think>\.\.\.</think>\n +<grounding>\{", out)


def test_show_of_a_system_whose_tool_is_not_there_says_so_and_shows_the_rest(mine: Path) -> None:
    (mine / "s.yaml").write_text("name: s\ntools: [./gone.py]\nchat_protocol: {first: '{question}'}\n")
    done = virc("systems", "show", mine / "s.yaml", "--json")
    assert (done.code, done.json["sent"], done.json["tools"]) == (0, None, [str(mine / "gone.py")])
    assert "it has tools of its own" in done.err


def test_show_loads_no_tool_and_an_example_is_made_of_any_schema(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_CUSTOM", {})
    properties = {
        "kind": {"type": ["string", "null"]},
        "many": {"type": "array", "minItems": 10**9},
        "odd": {"type": "array", "minItems": "2", "items": True},
        "listed": {"type": "array", "items": [{"type": "integer"}]},
        "any": True,
        "of": {"enum": []},
    }
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    for name, schema in (("any_of_it", parameters), ("nothing", {})):
        (mine / "s.yaml").write_text(f"name: s\ntools: [./{name}.py]\nchat_protocol: {{first: '{{question}}'}}\n")
        (mine / f"{name}.py").write_text(
            f'NAME = "{name}"\nTEMPLATE = "after_image"\nPARAMETERS = {schema}\n'
            'SCHEMA = {"type": "function", "function": {"name": NAME, "description": "", "parameters": PARAMETERS}}\n'
            f"open({str(mine / 'loaded')!r}, 'w').close()\n\n\ndef apply(call, source):\n    raise SystemExit(9)\n"
        )
        done = virc("systems", "show", mine / "s.yaml", "--json")
        assert (done.code, done.json["example_call"], (mine / "loaded").exists()) == (0, None, False), done.err
        protocol = of_system(systems.load(mine / "s.yaml")).protocol
        reading.example(protocol, (640, 480), QWEN2)  # it ended with an internal error
        (mine / "loaded").unlink()


def test_show_knows_nothing_of_a_chat_protocol_that_comes_with_the_weights() -> None:
    shown = virc("systems", "show", "virc", "--json").json
    assert [shown[key] for key in ("sent", "example_call", "limits")] == [None, None, None]


def test_json_of_a_stage_is_plain(mine: Path) -> None:
    printed = virc("systems", "show", mine / "mine.yaml", "--stage", "one", "--json").out
    assert json.loads(printed)["stage"]["published"] == {}


@pytest.mark.parametrize("line", ["crop_pixels: [9000, 4000]", "input_pixels: [9000, 9000]"])
def test_a_least_over_its_most_is_one_fault_at_its_line(line: str, tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(f"name: e\n{line}\n")
    done = virc("systems", "check", tmp_path / "e.yaml")
    assert done.code != 0
    assert f"e.yaml:2: `{line.partition(':')[0]}`" in done.out + done.err
