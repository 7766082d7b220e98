"""`virc systems check`: all faults of a system's YAML, each with its line, and none where there is none."""

import re
from pathlib import Path

import pytest
from support.called import virc

from virc.core.errors import ConfigError
from virc.models.chat_protocol import of_system
from virc.systems import registry as systems
from virc.training.system_check import MAX_LISTED, check

STAGE = "name: s\nstages:\n  one:\n    kind: sft\n    settings: {base: b, data: d, learning_rate: 1"
SMALL = ", devices: 1, zero: 0"


def faults_of(folder: Path, text: str) -> list[tuple[int, str, str | None]]:
    file = folder / "s.yaml"
    file.write_text(text)
    return [(found.line, found.message, found.hint) for found in check(file)]


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
      engine: {learning_rate: 1, weight_decay: 1e-2}
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
        (10, "engine.learning_rate follows from the setting learning_rate"),
        (13, "unknown setting 'lerning_rate'"),
        (13, "there is no stage 'oen'"),
        (14, "stages.three.kind is missing"),
        (16, faults[9][1].partition(" (")[0]),
        (18, "the name overlays.a,b must be at most 50 letters, digits, `-`, `_`, `.` or `+`, a letter or digit "
             "first, not 'a,b'"),
        (20, "overlays.c.about must be text, not 3"),
        (21, "unknown setting 'lora.rnk'"),
        (22, "there is no stage 'owt'"),
        (23, "there is no stage 'tow'"),
    ]  # fmt: skip
    assert "train_batch_size 7" in faults[9][1]
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
