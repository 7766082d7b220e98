"""`virc tools`: the real command on built-in tools and on files of one's own."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image
from remote import remote_server
from remote.remote_server import DETECT
from support.called import virc
from tools.test_own_tools import ROTATE

from virc.core import plugins
from virc.solving.trying import tool_files, tool_trial
from virc.tools import registry as tools


@pytest.fixture
def figure(tmp_path: Path) -> Path:
    file = tmp_path / "figure.png"
    Image.new("RGB", (560, 280), "white").save(file)
    return file


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in VIRC_PATH with one tool."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "rotate_image.py").write_text(ROTATE)
    monkeypatch.setenv("VIRC_PATH", str(folder))
    monkeypatch.setattr(tools, "_CUSTOM", {})
    return folder


def test_ls_lists_built_in_and_own_tools_and_runs_no_file(own: Path) -> None:
    (own / "a_reward.py").write_text("TERMS = ()\n")
    (own / "loud.py").write_text('"""`loud`: shout."""\nNAME: str = "loud"\nSCHEMA = {}\nraise SystemExit(9)\n')
    (own / "broken.py").write_text("NAME = \n")
    (own / "broken.yaml").write_text("description: [\n")
    (own / "a_system.yaml").write_text("name: a_system\n")
    (own / "remote.yaml").write_text("description: Ask.\nparameters: {type: object}\nhttp: {url: http://127.0.0.1:1}\n")
    listed = {each["name"]: each for each in virc("tools", "ls", "--json").json["tools"]}
    assert set(listed) == {*tools.discover(), *plugins.of_systems("tools"), "rotate_image", "loud", "remote"}
    assert (listed["zoom_around"]["kind"], listed["zoom_around"]["about"][:9]) == ("of a system", "cut a box")
    assert (listed["remote"]["kind"], listed["remote"]["about"]) == ("HTTP", "Ask.")
    assert listed["crop_image"] == {
        "name": "crop_image", "kind": "built in", "about": "cut a box out of an image shown before.", "file": None,
    }  # fmt: skip
    assert listed["loud"]["about"] == "shout."
    assert (listed["rotate_image"]["kind"], listed["rotate_image"]["file"]) == (
        "Python file",
        str(own / "rotate_image.py"),
    )
    assert "rotate_image       Python file  turn an image" in virc("tools", "ls").out


def test_ls_warns_of_files_that_are_no_tools(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own / "broken.py").write_text("NAME = \n")
    (own / "empty.py").write_text("")
    (own / "crop_image.py").write_text(ROTATE.replace("rotate_image", "crop_image"))
    (own / "spaced.py").write_text(ROTATE.replace("rotate_image", "a tool"))
    (own / "othername.py").write_text(ROTATE.replace("rotate_image", "rotate"))
    (own / "idle.py").write_text(ROTATE.replace("rotate_image", "idle").partition("def apply")[0])
    (own / "far.yaml").write_text("description: Ask.\nparameters: {type: object}\nseconds: -1\nhttp: {url: http://a}\n")
    (own / "a_system.yaml").write_text("name: a_system\n")
    monkeypatch.setenv("VIRC_PATH", f"{own}:{own / 'none'}")
    faults = {Path(each["file"]).name: each["reason"] for each in virc("tools", "ls", "--json").json["faults"]}
    assert faults == {
        "none": "there is no such folder, and VIRC_PATH names it",
        "broken.py": "it is no Python: invalid syntax, in line 1",
        "empty.py": "it is empty",
        "crop_image.py": "its NAME 'crop_image' is that of a built-in tool; choose another",
        "spaced.py": f"its NAME 'a tool' cannot be written by models: names have {tool_files._ALLOWED}",
        "othername.py": "its NAME is 'rotate', and by that name no command finds othername.py",
        "far.yaml": "line 3: seconds must be a number above 0 and at most 3600, not -1",
    }
    for name in ("crop_image", "spaced", "othername"):
        done = virc("tools", "check", own / f"{name}.py")
        assert (done.code, done.err.splitlines()[0]) == (3, f"error: {own / name}.py: {faults[f'{name}.py']}")
    done = virc("tools", "check", own / "idle.py")
    assert (done.code, done.err) == (3, f"error: {own / 'idle.py'} is not a tool: it has no apply(call, source)\n")
    assert f"warning: {own / 'empty.py'}: it is empty" in virc("tools", "ls").err


def test_a_name_that_is_assigned_with_others_is_checked_too(own: Path) -> None:
    both = ROTATE.replace('NAME = "rotate_image"\n', "").replace(
        'TEMPLATE = "after_image"', 'NAME, TEMPLATE = "rotate_image", "after_image"'
    )
    assert both != ROTATE
    (own / "othername.py").write_text(both)
    done = virc("tools", "check", own / "othername.py")
    assert (done.code, "its NAME is 'rotate_image'" in done.err) == (3, True)


def test_ls_lists_the_tool_of_the_first_folder(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "rotate_image.py").write_text(ROTATE)
    monkeypatch.setenv("VIRC_PATH", f"{own}:{tmp_path / 'other'}")
    (file,) = [each["file"] for each in virc("tools", "ls", "--json").json["tools"] if each["name"] == "rotate_image"]
    assert file == str(own / "rotate_image.py")
    assert tools.file_of("rotate_image") == own / "rotate_image.py"


def test_ls_takes_the_name_of_the_file_where_it_is_computed(own: Path) -> None:
    named = ROTATE.replace("rotate_image", "turned").replace('NAME = "turned"\n', "")
    both = named.replace('TEMPLATE = "after_image"', 'NAME, TEMPLATE = "turned", "after_image"')
    (own / "turned.py").write_text(both)
    done = virc("tools", "ls", "--json").json
    assert "turned" in {each["name"] for each in done["tools"]}
    assert done["faults"] == []
    assert virc("tools", "check", "turned").code == 0


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("own/rotate_image", "error: there is no file own/rotate_image\nhint: did you mean own/rotate_image.py?\n"),
        ("figure.png", "error: figure.png is no file of a tool, which is NAME.py or NAME.yaml\n"),
        ("a tool", "error: there is no tool 'a tool': names have letters, digits and _, and no digit first\n"),
    ],
)
def test_check_hints_at_the_file_that_is_there(
    own: Path, figure: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: str
) -> None:
    monkeypatch.chdir(figure.parent)
    done = virc("tools", "check", name)
    assert done.code == 3
    assert done.err.startswith(error)


def test_a_bad_schema_is_a_short_sentence_with_its_place(own: Path) -> None:
    (own / "odd.py").write_text(
        ROTATE.replace("rotate_image", "odd").replace('"type": "integer", "enum"', '"type": "int", "enum"')
    )
    done = virc("tools", "check", "odd")
    assert (done.code, done.err) == (
        3,
        "error: the parameters in the SCHEMA of the tool odd are no JSON schema: "
        "'int' is not valid under any of the given schemas, at properties.degrees.type\n",
    )


def test_ls_finds_tools_beside_a_system(tmp_path: Path) -> None:
    (tmp_path / "rotate_image.py").write_text(ROTATE)
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    named = virc("tools", "ls", "--system", tmp_path / "mine.yaml", "--json").json["tools"]
    assert named[-1]["name"] == "rotate_image"


@pytest.mark.parametrize("name", sorted({*tools.discover()} - {"search"}))  # which needs pages
def test_check_passes_every_built_in_tool(name: str) -> None:
    assert virc("tools", "check", name).code == 0


def test_check_says_that_no_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIRC_TOOL_CONTROLLER", raising=False)
    done = virc("tools", "check", "served_ocr")
    assert done.code == 4
    assert "needs a server, and none is named\nhint: export VIRC_TOOL_CONTROLLER=" in done.err


def test_check_names_the_line_that_fails(own: Path) -> None:
    assert virc("tools", "check", "rotate_image", "--json").json["called"] is True
    (own / "late.py").write_text(ROTATE.replace("rotate_image", "late").replace("source.rotate", "1 / 0 or source"))
    done = virc("tools", "check", own / "late.py")
    assert done.code == 3
    assert done.err.startswith("error: the tool late fails in line ")
    assert "ZeroDivisionError" in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((500, {}, b"out of memory"), "it answers 500: out of memory"),
        ((200, {"Content-Type": "text/html"}, b"<html>"), "its reply is not JSON"),
        ((404, {}, b""), "it answers 404"),
    ],
)
def test_check_and_try_fail_where_the_server_fails(
    own: Path, figure: Path, reply: remote_server.Reply, reason: str
) -> None:
    with remote_server.serving(lambda _: reply) as server:
        (own / "detect.yaml").write_text(DETECT.format(url=server.address))
        checked = virc("tools", "check", own / "detect.yaml")
        arguments = '{"words": "cat", "image_index": 0}'
        tried = virc("tools", "try", own / "detect.yaml", figure, "--arguments", arguments)
    for done in (checked, tried):
        assert (done.code, done.out) == (3, "")
        assert done.err == f"error: the server of the tool detect fails: {reason}\n"


def test_check_passes_a_tool_whose_server_answers(own: Path) -> None:
    with remote_server.serving(lambda _: remote_server.in_json({"found": 2})) as server:
        (own / "detect.yaml").write_text(DETECT.format(url=server.address))
        assert virc("tools", "check", own / "detect.yaml").code == 0


def test_check_waits_as_long_as_the_file_of_a_tool_says(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_trial, "_SECONDS", 0.05)
    with remote_server.serving(remote_server.hang(0.15)) as server:
        (own / "detect.yaml").write_text(DETECT.format(url=server.address) + "seconds: 30\n")
        done = virc("tools", "check", own / "detect.yaml")
    assert done.code == 0, done.err


def test_check_has_a_time_limit(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_trial, "_SECONDS", 0.2)
    slow = ROTATE.replace("rotate_image", "slow").replace("return source", "import time; time.sleep(3); return source")
    (own / "slow.py").write_text(slow)
    done = virc("tools", "check", "slow")
    assert (done.code, done.err.partition("\n")[0]) == (3, "error: the tool slow is not done within 0.2 seconds")


def test_a_tool_that_exits_is_an_error_with_its_line(own: Path, figure: Path) -> None:
    text = ROTATE.replace("rotate_image", "leaving").replace("return source.rotate", "raise SystemExit(3)\n    source")
    (own / "leaving.py").write_text(text)
    line = text[: text.index("raise SystemExit")].count("\n") + 1
    for words in (("check", "leaving"), ("try", "leaving", figure, "--arguments", '{"degrees": 90, "image_index": 0}')):
        done = virc("tools", *words)
        assert done.code == 3
        assert done.err.startswith(f"error: the tool leaving fails in line {line} of {own / 'leaving.py'}: ExitError: ")
        assert "sys.exit(3)" in done.err
    (own / "gone.py").write_text("import sys\nsys.exit(3)\n")
    assert "gone.py cannot be loaded: ExitError: it would end the process: sys.exit(3), in line 2" in (
        virc("tools", "check", "gone").err
    )


def test_wrong_parameters_are_shown_at_their_definition(own: Path) -> None:
    (own / "few.py").write_text(
        ROTATE.replace("rotate_image", "few").replace("def apply(call, source)", "def apply(call)")
    )
    done = virc("tools", "check", "few")
    line = ROTATE[: ROTATE.index("def apply")].count("\n") + 1
    assert (done.code, done.err.partition("\n")[0]) == (
        3,
        f"error: apply(call) in line {line} of {own / 'few.py'} cannot be called as apply(call, source)",
    )


def test_check_says_where_no_call_could_be_guessed() -> None:
    done = virc("tools", "check", "draw_on_image", "--json")
    assert (done.json["called"], done.json["reason"]) == (False, "a box has 2 points, and the call has 1")
    assert "--arguments" in done.err


def test_try_prints_what_the_model_is_sent_and_saves_images(tmp_path: Path, figure: Path) -> None:
    arguments = '{"bbox_2d": [0, 0, 280, 140], "image_index": 0}'
    done = virc("tools", "try", "crop_image", figure, "--arguments", arguments, "--to", tmp_path / "made")
    assert done.code == 0
    assert done.out == "<image 1: 280 x 140>\nImage 1: 280 x 140. Go on; look again wherever that helps.\n"
    assert "crop_image of image 0, shown at 560 x 280: box [0, 0, 280, 140]" in done.err
    assert Image.open(tmp_path / "made" / "image-1.png").size == (280, 140)


def test_try_counts_in_the_unit_that_is_asked_for(figure: Path) -> None:
    arguments = '{"bbox_2d": [0, 0, 500, 500], "image_index": 0}'
    done = virc("tools", "try", "crop_image", figure, "--arguments", arguments, "--coordinates", "permille", "--json")
    assert done.json["call"]["box"] == [0, 0, 280, 140]


def test_try_speaks_the_chat_protocol_of_a_system(figure: Path) -> None:
    arguments = '{"bbox_2d": [0, 0, 280, 140], "image_index": 0}'
    done = virc("tools", "try", "zoom_image", figure, "--arguments", arguments, "--system", "deepeyes", "--json").json
    assert done["reply"].endswith('{"name": "zoom_image", "arguments": {"bbox_2d": [0, 0, 280, 140]}}\n</tool_call>')
    assert done["sent"][0]["text"].startswith("<tool_response><image 1: 476 x 224>")


def test_try_runs_a_tool_of_ones_own(own: Path, figure: Path) -> None:
    arguments = '{"degrees": 90, "image_index": 0}'
    done = virc("tools", "try", own / "rotate_image.py", figure, "--arguments", arguments, "--json").json
    assert done["images"] == [{"width": 280, "height": 560, "file": None}]


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("crop_image",), 5, "the call cannot be carried out: the call has no bbox_2d and the call has no image_index"),
        (("crop_image", "--arguments", "[1"), 2, "--arguments '[1' is no JSON"),
        (("crop_image", "--arguments", "[1]"), 2, "--arguments '[1]' is no JSON object"),
        (("crop_imag",), 3, "there is no tool 'crop_imag'"),
        (("./crop.py",), 3, "there is no file ./crop.py"),
        (("crop_image", "--system", "nosuch"), 3, "there is no system 'nosuch'"),
    ],
)
def test_try_refuses_in_one_sentence(figure: Path, words: tuple[str, ...], code: int, error: str) -> None:
    name, *more = words
    done = virc("tools", "try", name, figure, *more)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(f"error: {error}")


def test_the_hint_of_a_refused_call_is_one_that_is_carried_out(figure: Path) -> None:
    hint = virc("tools", "try", "crop_image", figure, "--json").json["error"]["hint"]
    arguments = hint.removeprefix("--arguments '").removesuffix("'")
    assert virc("tools", "try", "crop_image", figure, "--arguments", arguments).code == 0


@pytest.mark.integration
def test_a_tool_behind_mcp_is_listed_checked_and_tried(own: Path, figure: Path, tmp_path: Path) -> None:
    server = Path(__file__).parents[1] / "remote" / "mcp_tools.py"
    command = json.dumps([sys.executable, str(server)])
    head = DETECT.partition("http:")[0].format()
    (own / "detect.yaml").write_text(f"{head}mcp:\n  tool: detect\n  command: {command}\n")
    kinds = {each["name"]: each["kind"] for each in virc("tools", "ls", "--json").json["tools"]}
    assert kinds["detect"] == "MCP"
    assert virc("tools", "check", "detect", "--json").json["reason"] is None
    words = ("--arguments", '{"words": "cat", "image_index": 0}', "--to", tmp_path / "made", "--json")
    done = virc("tools", "try", "detect", figure, *words).json
    assert "cat in (560, 280), process " in done["sent"][0]["text"]
    assert [Image.open(image["file"]).size for image in done["images"]] == [(560, 140)]


def test_a_file_with_the_name_of_a_built_in_tool_is_a_fault_and_no_tool(own: Path) -> None:
    (own / "crop_image.py").write_text('NAME = "crop_image"\n')
    found = tool_files.found()
    assert [each.name for each in found.tools].count("crop_image") == 1
    assert [each.reason for each in found.faults if each.file == own / "crop_image.py"]
