"""`virc tools check` and `virc tools try` on built-in tools and on files of one's own."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from remote.remote_server import DETECT
from support.called import virc
from support.tables import each_case
from tools.test_own_tools import ROTATE

from virc.core import plugins
from virc.tools import registry as tools


@pytest.fixture
def figure(tmp_path: Path) -> Path:
    file = tmp_path / "figure.png"
    Image.new("RGB", (560, 280), "white").save(file)
    return file


def turning(name: str, fault: str = "") -> str:
    """The file of a tool that rotates; `fault` is done before it does."""
    return ROTATE.replace("rotate_image", name).replace(
        "    return source", f"    {fault or 'pass'}\n    return source"
    )


LINE = turning("one", "1 / 0").partition("1 / 0")[0].count("\n") + 1
REMOTE = "description: Ask.\nparameters: {type: object}\nseconds: -1\nhttp: {url: http://a}\n"
CALL = ("--arguments", '{"degrees": 90, "image_index": 0}')


@each_case(
    ("name", "text", "error"),
    [
        ("broken.py", "NAME = \n", "FILE cannot be loaded: SyntaxError: "),
        ("gone.py", "import sys\nsys.exit(3)\n",
         "FILE cannot be loaded: ExitError: it would end the process: sys.exit(3), in line 2"),
        ("other.py", turning("rotate"), "FILE: its NAME is 'rotate', and by that name no command finds other.py"),
        ("idle.py", turning("idle").partition("def apply")[0], "FILE is not a tool: it has no apply(call, source)"),
        ("far.yaml", REMOTE, "FILE:3: seconds must be a number above 0 and at most 3600, not -1"),
        ("late.py", turning("late", "1 / 0"), f"the tool late fails in line {LINE} of FILE: ZeroDivisionError: "),
        ("leaving.py", turning("leaving", "raise SystemExit(3)"),
         f"the tool leaving fails in line {LINE} of FILE: ExitError: it would end the process: sys.exit(3)"),
    ],
)  # fmt: skip
def test_check_and_try_say_what_is_wrong_with_a_file(own: Path, figure: Path, name: str, text: str, error: str) -> None:
    (own / name).write_text(text)
    for words in (("check", own / name), ("try", own / name, figure, *CALL)):
        done = virc("tools", *words)
        assert (done.code, done.out) == (3, "")
        assert done.err.startswith("error: " + error.replace("FILE", str(own / name))), done.err


def test_no_hint_moves_a_copy_over_the_tool_that_it_is_of(own: Path) -> None:
    (own / "copy.py").write_text(ROTATE)
    assert virc("tools", "check", own / "copy.py").err.endswith('hint: NAME = "copy"\n')
    (own / "rotate_image.py").unlink()
    assert f"hint: mv {own / 'copy.py'} {own / 'rotate_image.py'}\n" in virc("tools", "check", own / "copy.py").err


@pytest.mark.parametrize("name", sorted({*tools.discover()} - {"search"}))  # which needs pages
def test_check_passes_every_built_in_tool(name: str) -> None:
    done = virc("tools", "check", name, "--json")
    uncalled = ("select_frames", "turn_to", "watch")  # no clip or document
    assert (done.code, done.json["called"]) == (0, name not in uncalled)


def test_check_says_that_no_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIRC_TOOL_CONTROLLER", raising=False)
    done = virc("tools", "check", "served_ocr")
    assert done.code == 4
    assert "needs a server, and none is named\nhint: export VIRC_TOOL_CONTROLLER=" in done.err


def test_files_that_a_run_would_not_copy_are_said_by_both_commands(own: Path, figure: Path) -> None:
    (own / "words.txt").write_text("two words")
    (own / "reading.py").write_text(
        "from pathlib import Path\n" + turning("reading", "(Path(__file__).parent / ('word' + 's.txt')).read_text()")
    )
    for words in (("check", "reading"), ("try", "reading", figure, *CALL)):
        done = virc("tools", *words)
        said = f"warning: reading.py opens {own / 'words.txt'} by a name that is no string in it: a run's copy comes"
        assert (done.code, said in done.err) == (0, True), done.err
        assert "hint: write 'words.txt' in reading.py" in done.err


def test_try_prints_what_the_model_is_sent_and_saves_images(tmp_path: Path, figure: Path) -> None:
    arguments = '{"bbox_2d": [0, 0, 280, 140], "image_index": 0}'
    done = virc("tools", "try", "crop_image", figure, "--arguments", arguments, "--to", tmp_path / "made")
    assert done.code == 0
    assert done.out == "<image 1: 280 x 140>\nImage 1: 280 x 140. Go on; look again wherever that helps.\n"
    assert "crop_image of image 0, shown at 560 x 280: box [0, 0, 280, 140]" in done.err
    assert Image.open(tmp_path / "made" / "image-1.png").size == (280, 140)


@each_case("words", [("scale_image",), ("scale_image", "--system", "virc"), ("crop_image",)])
def test_the_hint_of_try_is_carried_out_as_it_is_written(figure: Path, words: tuple[str, ...]) -> None:
    name, *system = words
    hint = virc("tools", "try", name, figure, *system).err.partition("hint: ")[2]
    done = virc("tools", "try", name, figure, *system, *shlex.split(hint))
    assert (done.code, done.out.startswith("<image 1: ")) == (0, True)
    assert "factor_snapped" not in done.err
    assert "{question}" not in done.out


NOISY = ROTATE.replace("    require_keys", "    print('noise')\n    require_keys").replace(
    "    return source", "    print('noise', flush=True)\n    return source"
)


@each_case("words", [
    ("tools", "check", "FILE", "--json"), ("tools", "check", "FILE"),
    ("tools", "try", "FILE", "FIGURE", *CALL, "--json"), ("tools", "try", "FILE", "FIGURE", *CALL),
    ("tools", "try", "FILE", "FIGURE", "--arguments", '{"degrees": 1, "image_index": 0}', "--json"),
])  # fmt: skip
def test_what_a_tool_prints_goes_to_stderr(own: Path, figure: Path, words: tuple[str, ...]) -> None:
    plugins.loaded.cache_clear()
    (own / "noisy.py").write_text("print('noise')\n" + NOISY.replace("rotate_image", "noisy"))
    places = {"FILE": "noisy", "FIGURE": str(figure)}
    done = virc(*(places.get(word, word) for word in words))
    assert "noise" not in done.out.replace("noisy", "")
    assert "--json" not in words or done.json["schema"]
    assert "noise\n" in done.err


@pytest.mark.integration
def test_what_libraries_and_children_of_a_tool_print_goes_to_stderr(own: Path, figure: Path) -> None:
    """A C library writes what it has buffered when the process ends."""
    noise = "os.write(1, b'fd\\n'), subprocess.run(['echo', 'child']), ctypes.CDLL(None).puts(b'library')"
    noisy = ROTATE.replace("    return source", f"    import ctypes, os, subprocess\n    {noise}\n    return source")
    (own / "noisy.py").write_text(noisy.replace("rotate_image", "noisy"))
    words = ("tools", "try", "noisy", str(figure), "--arguments", '{"degrees": 90, "image_index": 0}', "--json")
    done = subprocess.run([sys.executable, "-m", "virc_cli", *words], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["error"] is None
    assert {"fd", "child", "library"} <= set(done.stderr.splitlines())


@pytest.mark.integration
@each_case(
    ("script", "last"),
    [("echo {; echo hello; echo", "not JSON: hello"), ("echo no weights >&2; sleep 0.1; echo hello", "no weights")],
)
def test_an_mcp_command_that_speaks_no_json_is_one_sentence(own: Path, script: str, last: str) -> None:
    head = DETECT.partition("http:")[0].format()
    file = own / f"{last.rpartition(' ')[2]}.yaml"
    file.write_text(f"{head}mcp: {{tool: detect, command: {['sh', '-c', script]}}}\n")
    done = virc("tools", "check", file)
    assert (done.code, len(done.err.splitlines())) == (4, 1), done.err
    assert done.err.endswith(f"cannot be used: connection closed; its last line: {last}\n")


@pytest.mark.integration
def test_a_tool_behind_mcp_is_checked_and_tried(own: Path, figure: Path, tmp_path: Path) -> None:
    server = Path(__file__).parents[2] / "remote" / "mcp_tools.py"
    command = json.dumps([sys.executable, str(server)])
    head = DETECT.partition("http:")[0].format()
    (own / "detect.yaml").write_text(f"{head}mcp:\n  tool: detect\n  command: {command}\n")
    assert virc("tools", "check", "detect", "--json").json["reason"] is None
    words = ("--arguments", '{"words": "cat", "image_index": 0}', "--to", tmp_path / "made", "--json")
    done = virc("tools", "try", "detect", figure, *words).json
    assert "cat in (560, 280), process " in done["sent"][0]["text"]
    assert [Image.open(image["file"]).size for image in done["images"]] == [(560, 140)]
