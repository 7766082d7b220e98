"""`virc systems check`: all faults of a system's YAML, each with its line, and none where there is none."""

import json
import re
from pathlib import Path

import pytest
from support.called import virc

from virc.core.errors import ConfigError
from virc.models.chat_protocol import of_system
from virc.stages import resolve as stages
from virc.systems import registry as systems
from virc.training.system_check import MAX_LISTED, check

STAGE = "name: s\nstages:\n  one:\n    kind: sft\n    settings: {base: b, data: d, learning_rate: 1"
SMALL = ", devices: 1, zero: 0"
PACKAGE = Path(systems.__file__).parent


def faults_of(folder: Path, text: str) -> list[tuple[int, str, str | None]]:
    file = folder / "s.yaml"
    file.write_text(text)
    return [(found.line, found.message, found.hint) for found in check(file)]


@pytest.mark.parametrize("file", sorted(PACKAGE.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_systems_of_this_package_have_no_fault(file: Path) -> None:
    assert check(file) == []


def test_a_base_that_does_not_run_in_this_process_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    system = tmp_path / "s.yaml"
    for base, type_of_it in (
        ("OpenGVLab/InternVL3-8B", "internvl_chat"),
        ("google/gemma-3-4b-it", "gemma3"),
        ("zai-org/GLM-4.1V-9B", "glm4v"),
        ("Qwen/Qwen3.5-9B", None),
        ("Qwen/Qwen3-VL-30B-A3B-Instruct", None),
        ("someone/what", None),
    ):
        system.write_text(STAGE.replace("base: b", f"base: {base}") + SMALL + "}")
        done = virc("systems", "check", system)
        warned = f"warning: the base {base} is a model of type {type_of_it!r}, which does not run in this process"
        assert (done.code, "warning" in done.err, warned in done.err) == (0, bool(type_of_it), bool(type_of_it))
        assert ("--endpoint URL" in done.err) == bool(type_of_it)


def test_the_type_of_a_base_is_that_of_its_files_where_they_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    system, config = tmp_path / "s.yaml", tmp_path / "models" / "Mine-VL" / "config.json"
    config.parent.mkdir(parents=True)
    system.write_text(STAGE.replace("base: b", "base: Mine-VL") + SMALL + "}\nmodels: {M: {hub: someone/InternVL3-1B}}")
    for kind in ("llava_onevision", "qwen3_5"):
        config.write_text(json.dumps({"model_type": kind}))
        err = virc("systems", "check", system).err
        assert ("the base Mine-VL is a model of type 'llava_onevision'" in err) == (kind == "llava_onevision")
        assert "the released model someone/InternVL3-1B is a model of type 'internvl_chat'" in err


def test_all_faults_are_listed_by_line(tmp_path: Path) -> None:
    text = """modles: {}
coordinates: inches
stages:
  one:
    kind: sft
    settings:
      base: tiny
      data: rows_{size}
      learning_rate: fast
      engine: {optm: x, learning_rate: 1, weight_decay: 1e-2}
  two:
    kind: sft
    settings: {after: oen, data: x, learning_rate: 1, lerning_rate: 2, zero: 0, devices: 1}
  three:
    settings: {x: 1}
everywhere: {train_batch_size: 7, zero: 0, devices: 2}
overlays:
  a,b: {about: x}
  c:
    about: 3
    settings: {lora: {rnk: 1}}
    stages: {owt: {}}
    verified: {tow: x}
"""
    faults = faults_of(tmp_path, text)
    assert [(line, message.partition(" (")[0]) for line, message, _ in faults] == [
        (1, "unknown key 'modles'"),
        (1, "name is missing"),
        (2, "coordinates must be `original`, `permille`, `pixel`, `thousand` or `unit`, not 'inches'"),
        (8, "data is 'rows_{size}', and variant does not say what {size} is"),
        (9, "learning_rate must be a number above 0, not 'fast'"),
        (10, "LLaMA-Factory 0.9.5 has no key 'optm'"),
        (10, "engine.learning_rate follows from the setting learning_rate"),
        (13, "unknown setting 'lerning_rate'"),
        (13, "there is no stage 'oen'"),
        (14, "stages.three.kind is missing"),
        (16, faults[10][1].partition(" (")[0]),
        (18, "the name overlays.a,b must be at most 50 letters, digits, `-`, `_`, `.` or `+`, a letter or digit "
             "first, not 'a,b'"),
        (20, "overlays.c.about must be text, not 3"),
        (21, "unknown setting 'lora.rnk'"),
        (22, "there is no stage 'owt'"),
        (23, "there is no stage 'tow'"),
    ]  # fmt: skip
    assert "train_batch_size 7" in faults[10][1]
    assert [hint for line, _, hint in faults if line in (13, 23)] == [
        "did you mean 'learning_rate'?", "did you mean 'one'?", "did you mean 'two'?",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (", devices: 1", "zero 3 spreads over devices, and there is only one"),
        (", devices: 1, offload: true", None),
        (", devices: 1, nodes: 2", None),
        (", zero: 0", None),
        (SMALL + ", offload: true", "offload is done by DeepSpeed ZeRO, and zero is 0"),
        (SMALL + ", device: cpu", "the kernels of liger need a GPU, and device is cpu"),
        (SMALL + ", device: cpu, use_liger: false", None),
        (SMALL + ", device: cpu, use_liger: false, attention: fa2", "flash-attn needs a GPU, and device is cpu"),
        (SMALL + ", min_pixels: 10, max_pixels: 9", "min_pixels 10 is over max_pixels 9"),
        (SMALL + ", frozen_modules: [projector, vision, language]", "every part of the model is frozen"),
        (SMALL + ", frozen_modules: [language]", None),
        (SMALL + ", train_batch_size: 12, micro_batch_size_per_device: 5", "train_batch_size 12 is no multiple of"),
        (SMALL + ", after: one", "with `base` the stage does not start from 'one'"),
        (SMALL + ", engine: {per_device_train_batch_size: 2}", "follows from the setting micro_batch"),
    ],
)
def test_settings_that_make_no_sense_together_are_faults(settings: str, fault: str | None, tmp_path: Path) -> None:
    messages = [message for _, message, _ in faults_of(tmp_path, STAGE + settings + "}\n")]
    assert messages == [] if fault is None else any(fault in message for message in messages), messages


def test_a_batch_that_cannot_be_shared_is_told_one_that_can(tmp_path: Path) -> None:
    ((line, _, hint),) = faults_of(
        tmp_path, STAGE + ", train_batch_size: 100, micro_batch_size_per_device: 4, devices: 6}\n"
    )
    assert (line, "train_batch_size=96" in str(hint)) == (5, True)


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("crop_pixels: [0, 100]", "value 1 of crop_pixels must be a whole number of at least 1, not 0", None),
        ("chat_protocol: {edges: 1}", "unknown key 'chat_protocol.edges'", "`edges` belongs at the top level"),
        ("margin: 1", "unknown key 'margin'", "a tool says that now: the page *Grammars*"),
        ("chat_protocol: {text_boxes: true}", "unknown key 'chat_protocol.text_boxes'", "a tool says that now"),
        ("first: x", "unknown key 'first'", "`first` belongs below `chat_protocol`"),
        ("chat_protocol: {think: null}", "unknown key 'chat_protocol.think'", "belongs below `chat_protocol.grammar`"),
    ],
)
def test_what_is_wrong_with_a_key_is_said_of_it_and_where_it_belongs(
    line: str, message: str, hint: str | None, tmp_path: Path
) -> None:
    ((_, said, why),) = faults_of(tmp_path, f"name: s\n{line}\n")
    assert said == message
    assert (hint or "") in (why or "")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "after_error: 'x {eror}'",
            "{eror} is not filled in here, only {error}, {question}, ",
            "did you mean {error}?",
        ),
        ("first: '{question} {Images}'", "{Images} is not filled in here", "did you mean {images}?"),
        ("first: '{question} {width}'", "{width} is not filled in here", None),
        ("system: '{tool}'", "{tool} is not filled in here, only {tools}", "did you mean {tools}?"),
        ("error_texts: {no_width: '{pixel}'}", "{pixel} is not filled in here", "did you mean {pixels}?"),
    ],
)
def test_a_placeholder_that_nothing_fills_is_a_fault(text: str, message: str, hint: str | None, tmp_path: Path) -> None:
    ((_, said, why),) = faults_of(tmp_path, f"name: s\nchat_protocol:\n  {text}\n")
    assert said.startswith(message)
    assert why == hint
    with pytest.raises(ConfigError, match="is not filled in here"):
        of_system(systems.load(tmp_path / "s.yaml"))


def test_braces_that_are_no_placeholder_stay(tmp_path: Path) -> None:
    text = r"""'{question} \boxed{qestion} {"name": {}} {answer} {{x}}'"""
    assert faults_of(tmp_path, f"name: s\nchat_protocol:\n  first: {text}\n  system: '{{image}} {{text}}'\n") == []


def test_an_overlay_is_tried_with_every_stage_and_named_with_its_line(tmp_path: Path) -> None:
    text = (
        STAGE
        + SMALL
        + "}\noverlays:\n  two:\n    about: x\n    settings:\n      devices: 3\n      train_batch_size: 64\n"
    )
    ((line, message, _),) = faults_of(tmp_path, text)
    assert (line, message.endswith("(stage one, with the overlay two)")) == (11, True)


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (("one", "one"), "one after one: stages in a circle"),
        (("two", "one"), "one after two after one: stages in a circle"),
        (("three", "one"), "there is no stage 'three'"),
        ((None, None), "the stage one names neither `base` nor `after`"),
    ],
)
def test_stages_come_after_one_another_and_begin_with_a_model(
    after: tuple[str | None, str | None], message: str, tmp_path: Path
) -> None:
    text = "name: s\nstages:\n"
    for name, before in zip(("one", "two"), after, strict=True):
        start = f"after: {before}" if before else "steps: 1"
        text += f"  {name}: {{kind: sft, settings: {{{start}, data: d, learning_rate: 1}}}}\n"
    faults = faults_of(tmp_path, text)
    assert faults[0][:2] == (3, message)
    assert len([each for each in faults if "circle" in each[1]]) == ("circle" in message)


def test_a_fault_of_a_stage_alone_is_not_told_again_of_its_overlays(tmp_path: Path) -> None:
    text = STAGE + ", devices: 1}\noverlays: {o: {about: x, settings: {zero: 3, devices: 1}}}\n"
    assert [line for line, _, _ in faults_of(tmp_path, text)] == [5]


def test_a_word_that_fills_nothing_is_a_fault(tmp_path: Path) -> None:
    text = STAGE.replace("data: d", "data: 'd_{size}', variant: {size: big}") + SMALL
    text += "}\noverlays:\n  small: {about: x, settings: {variant: {sise: small}}}\n"
    assert faults_of(tmp_path, text) == [(7, "no `data` has a {sise} to be filled", "did you mean 'size'?")]


def test_a_missing_setting_hides_no_other_fault(tmp_path: Path) -> None:
    text = "name: s\nstages: {one: {kind: sft, settings: {base: b, min_pixels: 9, max_pixels: 8, zero: 0}}}\n"
    messages = [message for _, message, _ in faults_of(tmp_path, text)]
    assert messages == [
        "the setting data is missing (stage one)",
        "the setting learning_rate is missing (stage one)",
        "min_pixels 9 is over max_pixels 8 (stage one)",
    ]


def test_hostile_files_have_bounded_lists_of_faults(tmp_path: Path) -> None:
    names = [f"k{number:x}" for number in range(1000)]
    assert len(faults_of(tmp_path, "".join(f"{name}: 1\n" for name in names))) == MAX_LISTED
    wrong = "".join(f"{name}: 1, " for name in names)
    assert len(faults_of(tmp_path, f"name: s\nstages: {{{wrong}}}\n")) == MAX_LISTED
    alone = "".join(
        f"{name}: {{kind: sft, settings: {{base: b, train_batch_size: 7, devices: 2}}}}, " for name in names[:99]
    )
    assert len(faults_of(tmp_path, f"name: s\nstages: {{{alone}}}\n")) == MAX_LISTED
    assert "has at least 100 faults" in virc("systems", "check", tmp_path / "s.yaml").err


def test_more_stages_and_overlays_than_can_be_tried_are_a_fault(tmp_path: Path) -> None:
    stages = "".join(f"s{number}: {{kind: sft}}, " for number in range(60))
    overlays = "".join(f"o{number}: {{about: x}}, " for number in range(60))
    settings = "{base: b, data: d, learning_rate: 1}"
    text = f"name: s\nstages: {{{stages}}}\neverywhere: {settings}\noverlays: {{{overlays}}}\n"
    assert "too many to try" in faults_of(tmp_path, text)[0][1]


def test_the_command_prints_every_fault_and_exits_with_3(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("name: s\nmodles: {}\nstags: {}\n")
    done = virc("systems", "check", file)
    assert (done.code, done.out.splitlines()) == (3, [
        f"{file}:2: unknown key 'modles'; did you mean 'models'?",
        f"{file}:3: unknown key 'stags'; did you mean 'stages'?",
    ])  # fmt: skip
    assert done.err == f"error: {file} has 2 faults\n"
    found = virc("systems", "check", file, "--json").json
    assert found["faults"][1] == {
        "line": 3, "where": "stags", "message": "unknown key 'stags'", "hint": "did you mean 'stages'?",
    }  # fmt: skip
    assert (found["file"], found["error"]["code"]) == (str(file), 3)


def test_a_file_that_cannot_be_checked_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("name: [\n")
    for file, message in ((tmp_path / "s.yaml", "is not YAML"), (tmp_path / "gone.yaml", "there is no file")):
        done = virc("systems", "check", file, "--json")
        assert (done.code, done.json["faults"], message in done.err) == (3, None, True)


def test_a_name_is_checked_as_its_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = virc("systems", "check", "tiny", "--json")
    assert (done.code, done.json["file"], done.json["faults"]) == (0, str(PACKAGE / "tiny.yaml"), [])
    (file := tmp_path / "mine.yaml").write_text(TWO_KINDS.replace("name: s", "name: mine").replace("n: 4", "en: 4"))
    monkeypatch.setenv("VIRC_PATH", str(tmp_path))
    for named in ("mine", file):
        done = virc("systems", "check", named, "--json")
        (fault,) = done.json["faults"]
        assert (done.code, done.json["file"], fault["line"]) == (3, str(file), 7), named
        assert fault["message"] == "unknown setting 'en'"


TWO_KINDS = """name: s
stages:
  one: {kind: sft, settings: {base: b, data: d, learning_rate: 1e-5}}
  two: {kind: rl, settings: {after: one, data: d}}
everywhere: {cutoff_len: 100, devices: 4, tensor_parallel: 2, micro_batch_size_per_device: 2}
overlays:
  o: {about: x, settings: {zero: 2, n: 4, max_pixels: 5000}}
"""


def test_settings_that_one_kind_of_stage_has_are_none_of_the_others_faults(tmp_path: Path) -> None:
    assert faults_of(tmp_path, TWO_KINDS) == []
    found = systems.load(tmp_path / "s.yaml")
    one, two = (stages.resolve(found, name, ["o"]).config for name in ("one", "two"))
    assert (one.cutoff_len, one.zero, one.devices, one.max_pixels) == (100, 2, 4, 5000)
    assert (two.tensor_parallel, two.n, two.devices, two.max_pixels) == (2, 4, 4, 5000)


def test_settings_that_no_kind_of_stage_has_are_faults_told_once(tmp_path: Path) -> None:
    faults = faults_of(tmp_path, TWO_KINDS.replace("cutoff_len: 100", "cutof_len: 100").replace("zero: 2", "zeroo: 2"))
    assert [(line, message) for line, message, _ in faults] == [
        (5, "unknown setting 'cutof_len'"),
        (7, "unknown setting 'zeroo'"),
    ]


def test_a_tool_that_there_is_not_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "zoom.py").write_text("raise SystemExit  # a check runs no code of others")
    faults = faults_of(tmp_path, TWO_KINDS + "tools: [crop_image, ./zoom.py, crop_imag, ./gone.py]\n")
    gone = tmp_path / "gone.py"
    assert [message for _, message, _ in faults] == ["there is no tool 'crop_imag'", f"there is no file {gone}"]
    assert faults[0][2] == "did you mean 'crop_image'?"


@pytest.mark.parametrize("dotted", [False, True])
def test_an_engines_nested_key_is_found_on_its_line(dotted: bool, tmp_path: Path) -> None:
    nested = "actor_rollout_ref:\n          actor:\n            ppo_epoch: 2"
    key = "actor_rollout_ref.actor.ppo_epoch: 2" if dotted else nested
    stage = f"kind: rl\n    settings:\n      base: b\n      data: d\n      engine:\n        {key}\n"
    faults = faults_of(tmp_path, f"name: s\nstages:\n  two:\n    {stage}")
    assert [(line, hint) for line, _, hint in faults] == [
        (9 if dotted else 11, "did you mean 'actor_rollout_ref.actor.ppo_epochs'?")
    ]


@pytest.mark.parametrize(
    ("source", "fault", "hint"),
    [
        ("rows/a", None, None),
        ("rowz/a", "there is no dataset 'rowz'", "did you mean 'rows'?"),
        ("rows", "'rows' is not DATASET/NAME", "NAME is of its dataset_info.json"),
        ("rows/", "'rows/' is not DATASET/NAME", "NAME is of its dataset_info.json"),
    ],
)
def test_rows_that_show_a_chat_protocol_are_of_a_dataset(
    source: str, fault: str | None, hint: str | None, tmp_path: Path
) -> None:
    text = f"name: s\ndatasets: {{rows: {{hub: my/rows}}}}\nprotocol_source:\n  pixel: {source}\n"
    assert faults_of(tmp_path, text) == ([(4, fault, hint)] if fault else [])


@pytest.mark.parametrize("hub", ["rows", "a/b/c", "../rows", "https://host/rows", "a b/c", "é/b"])
def test_a_dataset_is_named_by_a_hub_id(hub: str, tmp_path: Path) -> None:
    ((line, message, _),) = faults_of(tmp_path, f"name: s\ndatasets: {{rows: {{hub: {hub!r}}}}}\n")
    assert (line, message) == (2, f"datasets.rows.hub must be a hub id, OWNER/NAME or null, not {hub!r}")


def test_boxes_mean_pixels_or_thousandths_where_a_chat_protocol_is_shown_too(tmp_path: Path) -> None:
    text = "name: s\ndatasets: {rows: {hub: my/rows}}\nprotocol_source: {pixels: rows/a}\n"
    ((line, message, hint),) = faults_of(tmp_path, text)
    assert (line, hint) == (3, "did you mean 'pixel'?")
    assert "must be `original`, `permille`, `pixel`, `thousand` or `unit`" in message


CALLS = """name: s
tools: [crop_image]
chat_protocol:
  first: "{question}"
  grammar:
    calls: [%s]
"""


@pytest.mark.parametrize(
    ("form", "fault", "hint"),
    [
        ("{names: {look: crop_imge}}", "the system has no tool 'crop_imge'", "did you mean 'crop_image'?"),
        ("{body: arguments, tool: zoom_image}", "the system has no tool 'zoom_image'", "did you mean 'crop_image'?"),
        ("{keys: {box: bbox_3d}}", "no tool of it takes 'bbox_3d'", "did you mean 'bbox_2d'?"),
        ("{given: {image_indx: 0}}", "no tool of it takes 'image_indx'", "did you mean 'image_index'?"),
        (
            "{open: <b>, close: </b>, body: list, tool: crop_image, unnamed: [box_2d]}",
            "no tool of it takes 'box_2d'", "did you mean 'bbox_2d'?",
        ),
        (
            "{given: {image_index: first}}",
            "image_index is the number of an image or `last`, not 'first'", None,
        ),
    ],
)  # fmt: skip
def test_calls_of_what_no_tool_takes_are_faults(form: str, fault: str, hint: str | None, tmp_path: Path) -> None:
    assert faults_of(tmp_path, CALLS % form) == [(6, fault, hint)]
    with pytest.raises(ConfigError, match=re.escape(fault)):
        of_system(systems.load(tmp_path / "s.yaml"))


def test_calls_are_written_where_there_are_tools(tmp_path: Path) -> None:
    text = CALLS.replace("[crop_image]", "none").replace('first: "{q', 'system: ""\n  first: "{q')
    assert faults_of(tmp_path, text % "{}") == [(7, "a call is written, and there are no tools", "calls: []")]
    assert faults_of(tmp_path, text % "") == []


def test_the_first_words_ask_the_question(tmp_path: Path) -> None:
    found = faults_of(tmp_path, 'name: s\nchat_protocol:\n  first: "What?"\n')
    assert found == [(3, "`first` has no question", "{question} is replaced by it")]
