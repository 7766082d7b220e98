"""`virc systems check`: all faults of a system's YAML, each with its line, and none where there is none."""

from pathlib import Path

import pytest
from support.called import virc
from support.tables import each_case
from tools.test_own_tools import ROTATE

from virc.core.errors import ConfigError
from virc.models.chat_protocol import of_system
from virc.systems import registry as systems
from virc_extras.authoring.system_check import MAX_LISTED, system_faults

Fault = tuple[int, str, str | None]
"""Line, the beginning of the message, and the hint where it matters."""
KEYS = """modles: {}
coordinates: inches
stages:
  three:
    settings: {x: 1}
overlays:
  a,b: {about: x}
"""
SETTINGS = """name: s
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
ORDER = """name: s
everywhere: {data: d, learning_rate: 1, devices: 1, zero: 0}
stages:
  one: {kind: sft, settings: {after: one}}
  two: {kind: sft, settings: {after: three}}
  four: {kind: sft, settings: {epochs: 1}}
"""
FILES: list[tuple[str, list[Fault]]] = [
    (KEYS, [
        (1, "unknown key 'modles'", None), (1, "name is missing", None),
        (2, "coordinates must be `original`, `permille`, `pixel`, `thousan", None),
        (4, "stages.three.kind is missing", None), (7, "the name overlays.a,b must be at most 50 letters, dig", None),
    ]),
    (SETTINGS, [
        (8, "learning_rate must be a number above 0, not 'fast' (", None),
        (11, "unknown setting 'lerning_rate' (", "did you mean 'learning_rate'?"),
        (14, "there is no stage 'oen' before it (", None),
        (14, "engine.learning_rate follows from the setting learning_rate (", None),
        (14, "data is 'rows_{size}', and variant does not say what {size} is (", None),
        (15, "train_batch_size 7 is no multiple of", None),
        (19, "unknown setting 'lora.rnk' (", None), (20, "there is no stage 'owt'", None),
        (21, "there is no stage 'tow'", "did you mean 'two'?"),
    ]),
    (ORDER, [
        (4, "there is no stage 'one' before it (", None), (5, "there is no stage 'three' before it (", None),
        (6, "it names neither `base` nor `after` (", None),
    ]),
]  # fmt: skip


@each_case(("text", "faults"), FILES)
def test_all_faults_are_listed_by_line(text: str, faults: list[Fault], tmp_path: Path) -> None:
    assert_faults(tmp_path, text, faults)


def assert_faults(folder: Path, text: str, faults: list[Fault]) -> None:
    (folder / "s.yaml").write_text(text)
    found = system_faults(folder / "s.yaml")
    assert [each.line for each in found] == [line for line, _, _ in faults]
    for each, (_, message, hint) in zip(found, faults, strict=True):
        assert each.message.startswith(message)
        assert hint is None or each.hint == hint


SMALL = "devices: 1, zero: 0"


@each_case(
    ("settings", "fault"),
    [
        ("devices: 1", "zero 3 spreads over devices, and there is only one"),
        (f"{SMALL}, offload: true", "offload is done by DeepSpeed ZeRO, and zero is 0"),
        (f"{SMALL}, device: cpu", "the kernels of liger need a GPU, and device is cpu"),
        (f"{SMALL}, device: cpu, use_liger: false, attention: fa2", "flash-attn needs a GPU, and device is cpu"),
        (f"{SMALL}, frozen_modules: [projector, vision, language]", "every part of the model is frozen"),
        (f"{SMALL}, train_batch_size: 12, micro_batch_size_per_device: 5", "train_batch_size 12 is no multiple of"),
        (f"{SMALL}, after: one", "with `base` the stage does not start from 'one'"),
        (f"{SMALL}, engine: {{per_device_train_batch_size: 2}}", "engine.per_device_train_batch_size follows from the"),
    ],
)
def test_settings_that_make_no_sense_together_are_faults(settings: str, fault: str, tmp_path: Path) -> None:
    stage = f"{{kind: sft, settings: {{base: b, data: d, learning_rate: 1, {settings}}}}}"
    assert_faults(tmp_path, f"name: s\nstages:\n  one: {stage}\n", [(3, fault, None)])


CALLS = """name: s
tools: [crop_image]
chat_protocol:
  first: "{question}"
  grammar:
    calls: [%s]
"""
WORDS: list[tuple[str, Fault]] = [
    *((f"name: s\nchat_protocol:\n  {text}\n", (3, message, hint)) for text, message, hint in (
        ("after_error: 'x {eror}'", "{eror} is not filled in here, only {error}, {question}, ",
         "did you mean {error}?"),
        ("first: '{question} {Images}'", "{Images} is not filled in here", "did you mean {images}?"),
        ("first: '{question} {width}'", "{width} is not filled in here", None),
        ("system: '{tool}'", "{tool} is not filled in here, only {tools}", "did you mean {tools}?"),
        ("error_texts: {no_width: '{pixel}'}", "{pixel} is not filled in here", "did you mean {pixels}?"),
    )),
    *((CALLS % form, (6, message, hint)) for form, message, hint in (
        ("{names: {look: crop_imge}}", "the system has no tool 'crop_imge'", "did you mean 'crop_image'?"),
        ("{body: arguments, tool: zoom_image}", "the system has no tool 'zoom_image'", "did you mean 'crop_image'?"),
        ("{keys: {box: bbox_3d}}", "no tool of it takes 'bbox_3d'", "did you mean 'bbox_2d'?"),
        ("{given: {image_indx: 0}}", "no tool of it takes 'image_indx'", "did you mean 'image_index'?"),
        ("{open: <b>, close: </b>, body: list, tool: crop_image, unnamed: [box_2d]}", "no tool of it takes 'box_2d'",
         "did you mean 'bbox_2d'?"),
        ("{given: {image_index: first}}", "image_index is the number of an image or `last`, not 'first'", None),
    )),
]  # fmt: skip


@each_case(("text", "fault"), WORDS)
def test_words_that_nothing_fills_or_takes_are_faults_and_refused(text: str, fault: Fault, tmp_path: Path) -> None:
    assert_faults(tmp_path, text, [fault])
    with pytest.raises(ConfigError) as refused:
        of_system(systems.load(tmp_path / "s.yaml"))
    assert fault[1] in refused.value.message


@each_case(
    ("reward", "message", "hint"),
    [
        ("{totl: virc}", "unknown key 'reward.totl'", "did you mean 'total'?"),
        ("{strict: publshed}", "reward.strict must be `own` or `published`, not 'publshed'",
         "did you mean 'published'?"),
        ("{total: vric}", "there is no reward 'vric'", "did you mean 'virc'?"),
        ("{total: ./none.py}", "there is no file ", "virc rewards ls"),
        ("{judge: {endpoint: here}}", "reward.judge.endpoint must be a URL", None),
        ("{judge: {at_once: 0}}", "reward.judge.at_once must be a whole number from 1 to 1024, not 0", None),
    ],
)  # fmt: skip
def test_misspelt_rewards_are_faults(reward: str, message: str, hint: str | None, tmp_path: Path) -> None:
    assert_faults(tmp_path, f"name: s\nreward: {reward}\n", [(2, message, hint)])


def test_lists_of_faults_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("".join(f"k{number:x}: 1\n" for number in range(1000)))
    assert len(system_faults(tmp_path / "s.yaml")) == MAX_LISTED
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


def test_a_file_that_a_copy_of_a_reward_would_lack_is_said(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("two words")
    (tmp_path / "dear.py").write_text(
        'TERMS = ("format",)\nWORDS = open(__file__.replace("dear.py", "list" + ".txt")).read()\n'
        "def total(t):\n    return 1.0\n"
    )
    (tmp_path / "s.yaml").write_text("name: s\nreward: {total: ./dear.py}\n")
    done = virc("systems", "check", tmp_path / "s.yaml")
    assert (done.code, done.err.count("warning: dear.py opens")) == (0, 1), done.err


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


@each_case("reward", ["{total: ./mine.py}", '{total: null, supply: "how salience is weighed"}'])
def test_a_check_without_code_loads_no_reward_and_misses_none_that_is_not_public(reward: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nTERMS = ()\n")
    (tmp_path / "s.yaml").write_text(f"name: s\nreward: {reward}\n")
    assert system_faults(tmp_path / "s.yaml") == []
    assert not (tmp_path / "ran").exists()
