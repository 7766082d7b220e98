"""`virc systems check`: all faults of a system's YAML, each with its line, and none where there is none."""

import re
from pathlib import Path

import pytest
from support.called import virc
from tools.test_own_tools import ROTATE

from virc.core.errors import ConfigError
from virc.models.chat_protocol import of_system
from virc.systems import registry as systems
from virc.training.system_check import MAX_LISTED, system_faults

STAGE = "name: s\nstages:\n  one:\n    kind: sft\n    settings: {base: b, data: d, learning_rate: 1"
SMALL = ", devices: 1, zero: 0"


def faults_of(folder: Path, text: str) -> list[tuple[int, str, str | None]]:
    file = folder / "s.yaml"
    file.write_text(text)
    return [(found.line, found.message, found.hint) for found in system_faults(file)]


def test_all_faults_are_listed_by_line(tmp_path: Path) -> None:
    keys = """modles: {}
coordinates: inches
stages:
  three:
    settings: {x: 1}
overlays:
  a,b: {about: x}
"""
    assert [(line, message.partition(", not")[0][:50]) for line, message, _ in faults_of(tmp_path, keys)] == [
        (1, "unknown key 'modles'"),
        (1, "name is missing"),
        (2, "coordinates must be `original`, `permille`, `pixel`, `thousan"[:50]),
        (4, "stages.three.kind is missing"),
        (7, "the name overlays.a,b must be at most 50 letters, dig"[:50]),
    ]
    settings = """name: s
stages:
  one:
    kind: sft
    settings:
      base: tiny
      data: rows_{size}
      learning_rate: fast
  two:
    kind: sft
    settings: {after: oen, data: x, learning_rate: 1, lerning_rate: 2, zero: 0, devices: 1}
  three:
    kind: sft
    settings: {after: oen, data: "rows_{size}", learning_rate: 1, engine: {learning_rate: 1}}
everywhere: {train_batch_size: 7, zero: 0, devices: 2}
overlays:
  c:
    about: x
    settings: {lora: {rnk: 1}}
    stages: {owt: {}}
    verified: {tow: x}
"""
    faults = faults_of(tmp_path, settings)
    assert [(line, message.partition(" (")[0]) for line, message, _ in faults] == [
        (8, "learning_rate must be a number above 0, not 'fast'"),
        (11, "unknown setting 'lerning_rate'"),
        (14, "there is no stage 'oen' before it"),
        (14, "data is 'rows_{size}', and variant does not say what {size} is"),
        (14, "engine.learning_rate follows from the setting learning_rate"),
        (15, faults[5][1].partition(" (")[0]),
        (19, "unknown setting 'lora.rnk'"),
        (20, "there is no stage 'owt'"),
        (21, "there is no stage 'tow'"),
    ]
    assert "train_batch_size 7" in faults[5][1]
    assert {hint for line, _, hint in faults if line in (11, 21)} == {
        "did you mean 'learning_rate'?", "did you mean 'two'?",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (", devices: 1", "zero 3 spreads over devices, and there is only one"),
        (SMALL + ", offload: true", "offload is done by DeepSpeed ZeRO, and zero is 0"),
        (SMALL + ", device: cpu", "the kernels of liger need a GPU, and device is cpu"),
        (SMALL + ", device: cpu, use_liger: false, attention: fa2", "flash-attn needs a GPU, and device is cpu"),
        (SMALL + ", frozen_modules: [projector, vision, language]", "every part of the model is frozen"),
        (SMALL + ", train_batch_size: 12, micro_batch_size_per_device: 5", "train_batch_size 12 is no multiple of"),
        (SMALL + ", after: one", "with `base` the stage does not start from 'one'"),
        (SMALL + ", engine: {per_device_train_batch_size: 2}", "follows from the setting micro_batch"),
    ],
)
def test_settings_that_make_no_sense_together_are_faults(settings: str, fault: str | None, tmp_path: Path) -> None:
    messages = [message for _, message, _ in faults_of(tmp_path, STAGE + settings + "}\n")]
    assert messages == [] if fault is None else any(fault in message for message in messages), messages


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


def test_a_stage_begins_with_a_model_or_after_another(tmp_path: Path) -> None:
    text = "name: s\nstages:\n"
    for name, start in (("one", "after: one"), ("two", "after: three"), ("four", "epochs: 1")):
        text += f"  {name}: {{kind: sft, settings: {{{start}, data: d, learning_rate: 1, devices: 1, zero: 0}}}}\n"
    assert [(line, message.partition(" (")[0]) for line, message, _ in faults_of(tmp_path, text)] == [
        (3, "there is no stage 'one' before it"),
        (4, "there is no stage 'three' before it"),
        (5, "it names neither `base` nor `after`"),
    ]


def test_lists_of_faults_are_bounded(tmp_path: Path) -> None:
    assert len(faults_of(tmp_path, "".join(f"k{number:x}: 1\n" for number in range(1000)))) == MAX_LISTED
    assert "has at least 100 faults" in virc("systems", "check", tmp_path / "s.yaml").err


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


def test_a_reward_that_cannot_be_loaded_and_a_tool_that_fails_are_faults(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    (tmp_path / "turning.py").write_text(
        ROTATE.replace("rotate_image", "turning").replace("source.rotate", "1 / 0 or source.rotate")
    )
    file.write_text("name: s\ntools: [./turning.py]\nreward: {total: ./broken.py}\n")
    done = virc("systems", "check", file)
    assert (done.code, [line.split(":")[1] for line in done.out.splitlines()]) == (3, ["2", "3"])
    assert "the tool turning fails in line " in done.out
    assert "broken.py cannot be loaded: ModuleNotFoundError: no module named 'no_such_module', in line 1" in done.out


def test_check_names_what_is_not_read_and_exits_with_5(tmp_path: Path) -> None:
    file, answer = tmp_path / "s.yaml", "<think>b</think><answer>3</answer>"
    form = "{open: <bbox>, close: </bbox>, body: list, tool: crop_image, unnamed: [bbox_2d], given: {image_index: 0}}"
    file.write_text(CALLS % form)
    for reply, fault in (
        ("<think>a</think><bbox>[1, 2]</bbox>", "bbox_2d is [1, 2], not four whole numbers"),
        ("<think>a</think><bbox>1, 2</bbox>", "the tool call is not JSON: Extra data at character 1"),
        ("It is 3", "the tags are not one think and one bbox or answer, but none"),
    ):
        done = virc("systems", "check", file, "--reply", answer, "--reply", reply)
        assert (done.code, f"error: reply 2 is not read: {fault}" in done.err) == (5, True), done.err
        assert f"  fault          {fault}\n" in done.out
        found = virc("systems", "check", file, "--reply", reply, "--json")
        assert (found.code, found.json["replies"][0]["fault"], found.json["error"]["code"]) == (5, fault, 5)


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
