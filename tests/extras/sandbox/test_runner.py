"""What the part inside the sandbox does with code, in this process: what it prints, shows, reads and calls."""

import io
import re
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from support.tables import each_case

from virc_extras.sandbox.calls import Asked, CodeReply, Request
from virc_extras.sandbox.child import Child
from virc_extras.sandbox.runner import Channel, Runner
from virc_extras.sandbox.watch import DiedError

Run = Callable[..., tuple[dict[str, Any], list[bytes]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs programs of one problem, one after the other."""
    monkeypatch.setattr(Image.Image, "show", Image.Image.show)  # the runner puts another in its place
    runner = Runner(str(tmp_path), Channel(io.BufferedReader(io.BytesIO()), io.BufferedWriter(io.BytesIO())))  # type: ignore[arg-type]
    numbers = iter(range(1, 99))

    def ran(code: str, files: str = "saved", **more: Any) -> tuple[dict[str, Any], list[bytes]]:
        pictures: Mapping[str, bytes] = more.pop("pictures", {})
        named = [{"file": f"{name}.png", "name": name, "path_name": f"{name}_path"} for name in pictures]
        request = {
            "code": code, "images": named, "files": files, "max_images": 2, "max_pixels": 100, "max_characters": 200,
            "id": next(numbers), "variables": {}, "functions": {}, "max_calls": 5, "max_call_images": 2, **more,
        }  # fmt: skip
        return runner.run(request, list(pictures.values()))

    return ran


IMAGES = "from PIL import Image\n"
LARGE = "an image of {} px is not shown: the most is 100 pixels"


@pytest.mark.parametrize(
    ("code", "stdout", "error", "notes", "sizes"),
    [
        ("print(6 * 7)", "42\n", "", [], []), ("6 * 7", "42\n", "", [], []), ("None", "", "", [], []),
        ("import numpy\nnumpy.zeros(2)", "array([0., 0.])\n", "", [], []),
        ("print(1)\nraise SystemExit(3)\nprint(2)", "1\n", "", [], []), ("input()", "", "EOFError", [], []),
        ("1 / 0", "", "ZeroDivisionError: division by zero", [], []),
        (IMAGES + "Image.new('RGB', (4, 5))", "", "", [], [(4, 5)]),
        (IMAGES + "Image.new('RGB', (0, 5))", "", "", [LARGE.format("0 x 5")], []),
        (IMAGES + "for _ in range(3): Image.new('L', (11, 10)).show()", "", "", [LARGE.format("11 x 10")], []),
        ("open('a.png', 'w').write('none')", "4\n", "", ["a.png cannot be shown: UnidentifiedImageError"], []),
        (  # the file ends within its pixels
            IMAGES + "Image.effect_noise((9, 9), 90).save('a.png')\nimport os\nos.truncate('a.png', 50)",
            "", "", ["a.png cannot be shown: OSError"], [],
        ),
    ],
)  # fmt: skip
def test_what_a_program_comes_to(
    run: Run, code: str, stdout: str, error: str, notes: list[str], sizes: list[tuple[int, int]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    reply, pixels = run(code)
    assert (reply["stdout"], error in reply["stderr"], reply["fault"]) == (stdout, True, bool(error))
    assert reply["notes"] == [f"[{note}]" for note in notes]
    assert (reply["images"], [len(each) for each in pixels]) == (sizes, [3 * w * h for w, h in sizes])


@pytest.mark.parametrize(("files", "seen"), [("saved", [(3, 4), (5, 6)]), ("printed", [(5, 6)]), ("none", [])])
def test_files_are_shown_that_were_asked_for(
    run: Run, files: str, seen: list[tuple[int, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (9, 9)).save("before.png")
    save = "Image.new('RGB', {0}).save('{1}.png')\n"
    code = IMAGES + save.format((3, 4), "a") + save.format((5, 6), "b") + "print('see b.png, not x.png')"
    assert run(code, files)[0]["images"] == seen
    assert run("print('done')", files)[0]["images"] == []


def test_what_went_wrong_names_the_lines_of_the_code_alone(run: Run) -> None:
    run("x = 1")
    said = run("import json\ntry:\n    json.loads('{')\nexcept ValueError:\n    {}['a']")[0]["stderr"]
    assert re.findall(r'File "(.*?)", line (\d+)', said) == [("<code 2>", "3"), ("<code 2>", "5")]
    assert "json.loads('{')" in said
    assert "KeyError: 'a'" in said
    reply, _ = run("print('out')\nimport sys\nprint('err', file=sys.stderr)")
    assert (reply["stdout"], reply["stderr"]) == ("out\n", "err\n")
    assert sys.stdout is not None
    reply, _ = run("raise KeyboardInterrupt")
    assert (reply["fault"], reply["stderr"][-18:]) == (True, "KeyboardInterrupt\n"[-18:])


def test_images_are_there_by_their_names_and_paths(run: Run) -> None:
    Image.new("RGB", (7, 3)).save(file := io.BytesIO(), "PNG")
    code = IMAGES + "print(a.size, Image.open(a_path).size, name)"
    assert run(code, pictures={"a": file.getvalue()}, variables={"name": "é"})[0]["stdout"] == "(7, 3) (7, 3) é\n"
    assert run("print(a.size)")[0]["stdout"] == "(7, 3)\n"


WANTED = Request("code", (), "none", max_images=1, max_pixels=100, max_characters=9, id=7, max_call_images=2)


@each_case(
    ("frame", "fits"),
    [
        (Asked(7, "look", {}, ((10, 10),)), True), (Asked(7, "look", {}, ((10, 5), (5, 10))), True),
        (Asked(7, "look", {}, ((10, 10), (1, 1))), False),  # the pixels of all its images count
        (Asked(7, "look", {}, ((1, 1),) * 3), False), (Asked(8, "look", {}), False),
        (CodeReply(7, "", "", (), False, ((10, 10),)), True), (CodeReply(7, "", "", (), False, ((10, 11),)), False),
        (CodeReply(7, "", "", (), False, ((1, 1), (1, 1))), False), (CodeReply(6, "", "", (), False, ()), False),
    ],
)  # fmt: skip
def test_what_a_process_says_is_within_its_bounds(
    frame: Asked | CodeReply, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = object.__new__(Child)
    monkeypatch.setattr(child, "_read", lambda *_: msgspec.json.encode(frame), raising=False)
    if fits:
        assert child._found(WANTED, 0, 0) == frame
    else:
        with pytest.raises(DiedError, match="the connection to the interpreter broke"):
            child._found(WANTED, 0, 0)


@pytest.fixture
def child() -> Child:
    found = object.__new__(Child)
    found.watch, found._lock = None, threading.Lock()
    return found


def test_a_reply_is_cut_where_the_process_does_not_cut_it(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = CodeReply(7, "a" * 200, "b" * 200, ("n" * 300,) * 9, False, ())
    monkeypatch.setattr(child, "_found", lambda *_: reply, raising=False)
    short, pixels = child._reply(WANTED, 0, 0, None)
    assert (short.stdout, short.stderr, short.notes, pixels) == ("a" * 118, "b" * 118, ("n" * 200,) * 8, [])
