"""What the part inside the sandbox does with code, in this process: what it prints, shows, reads and calls."""

import ctypes
import io
import json
import os
import re
import resource
import select
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy
import pytest
from PIL import Image

from virc.sandbox import child as children
from virc.sandbox import runner
from virc.sandbox.calls import Asked, Reply, Request
from virc.sandbox.child import Child
from virc.sandbox.isolator import Machine
from virc.sandbox.runner import Channel, Runner, _shortened
from virc.sandbox.watch import DiedError, Watch

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
        ("print(6 * 7)", "42\n", "", [], []),
        ("6 * 7", "42\n", "", [], []),
        ("None", "", "", [], []),
        ("0", "0\n", "", [], []),
        ("[]", "[]\n", "", [], []),
        ("1 > 2", "False\n", "", [], []),
        ("import numpy\nnumpy.zeros(2)", "array([0., 0.])\n", "", [], []),
        ("'a'", "'a'\n", "", [], []),
        ("print(1)\nraise SystemExit(3)\nprint(2)", "1\n", "", [], []),
        ("input()", "", "EOFError", [], []),
        ("import sys\nprint(sys.stdin.read() == '')", "True\n", "", [], []),
        ("1 / 0", "", "ZeroDivisionError: division by zero", [], []),
        (IMAGES + "Image.new('RGB', (4, 5))", "", "", [], [(4, 5)]),
        (IMAGES + "Image.new('RGB', (10, 10))", "", "", [], [(10, 10)]),
        (IMAGES + "Image.new('RGB', (0, 5))", "", "", [LARGE.format("0 x 5")], []),
        (IMAGES + "for _ in range(3): Image.new('L', (11, 10)).show()", "", "", [LARGE.format("11 x 10")], []),
        (
            IMAGES + "display(*[Image.new('L', (2, 2))] * 5)", "", "",
            ["more than 2 images: the others are not shown"], [(2, 2)] * 2,
        ),
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


def test_saved_images_are_shown_by_their_names_in_order(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save = "for at in (4, 7, 2, 8, 1, 6, 3, 5): Image.new('RGB', (at, 1)).save(f'{at}.png')"
    assert run(IMAGES + save, max_images=9)[0]["images"] == [(at, 1) for at in range(1, 9)]


@pytest.mark.parametrize(
    "code", ["a = Image.new('P', (1, 1))\na.putpalette([0, 0, 0])\na.info['transparency'] = 0\na",
             "Image.new('RGBA', (1, 1))", "Image.new('LA', (1, 1))"],
)  # fmt: skip
def test_what_is_transparent_is_white(run: Run, code: str) -> None:
    assert run(IMAGES + code)[1] == [b"\xff\xff\xff"]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (["aaaaa", "zzzzz"], "aaaaazzzzz"),
        (["aaaaaa", "zzzzzz"], "aaaaa\n[... 2 characters left out ...]\nzzzzz"),
        (["a" * 50 + "z" * 50], "aaaaa\n[... 90 characters left out ...]\nzzzzz"),
        (["ab"] * 30, "ababa\n[... 50 characters left out ...]\nbabab"),
        (["a" * 100, "m" * 100, "z" * 100], "aaaaa\n[... 290 characters left out ...]\nzzzzz"),
    ],
)
def test_the_middle_of_a_long_text_is_left_out_and_counted(written: list[str], said: str) -> None:
    out = runner.Output(10)
    for each in written:
        assert (out.write(each), len(out.text) <= 20) == (len(each), True)  # no more is held than twice the most
    assert out.value() == said


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ([(10, 10)], None),
        ([(10, 5), (5, 10)], None),
        ([(1, 1)] * 3, "look() was called with 3 images with 3; it takes at most 2 images with 100 pixels together"),
        ([(10, 10), (1, 1)], "look() was called with 2 images with 101; it takes at most 2 images with 100 pixels"),
        ([(3, 3), (0, 7)], "look() was called with an image of (0, 7), which has no pixels"),
    ],
)
def test_pictures_of_a_call_are_bounded_together(sizes: list[tuple[int, int]], says: str | None) -> None:
    channel = Channel(io.BytesIO(), io.BytesIO())  # type: ignore[arg-type]
    channel.max_images, channel.max_pixels = 2, 100
    if says is None:
        channel._check_images("look", sizes)
    else:
        with pytest.raises(runner.CallError, match=re.escape(says)):
            channel._check_images("look", sizes)


def test_a_changed_file_is_shown_again_and_its_name_in_capitals_is_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save = IMAGES + "Image.new('RGB', (3, 4), '{}').save('A.PNG')"
    assert run(save.format("red"))[0]["images"] == [(3, 4)]
    os.utime("A.PNG", (5, 5))  # of another time than what is saved now
    assert run(save.format("blue"))[0]["images"] == [(3, 4)]  # as large as before
    assert run("print('A.PNG A.PNG')", "printed")[0]["images"] == [(3, 4)]
    assert run("open('b.txt', 'w').write('b')\nprint('b.txt')", "printed")[0]["notes"] == []


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


def test_a_figure_is_shown_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of matplotlib, which takes a second to import."""
    opened = {1: 4, 3: 7}

    def save(side: int, to: io.BytesIO, format: str, bbox_inches: str) -> None:
        assert bbox_inches == "tight"  # labels beyond its edges are not cut off
        Image.new("RGB", (side, 4)).save(to, format)

    def figure(number: int) -> SimpleNamespace:
        return SimpleNamespace(savefig=partial(save, opened[number]))

    pyplot = SimpleNamespace(get_fignums=lambda: list(opened), figure=figure, close=lambda which: opened.clear())
    monkeypatch.setitem(sys.modules, "matplotlib", SimpleNamespace(pyplot=pyplot))
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", pyplot)
    assert run("print(1)")[0]["images"] == [(4, 4), (7, 4)]
    assert run("print(2)")[0]["images"] == []
    opened |= {1: 5, 2: 6}
    assert run("from matplotlib import pyplot\npyplot.show()\nprint(len(pyplot.get_fignums()))")[0]["stdout"] == "0\n"
    opened |= {1: 5, 2: 6}
    assert run("from matplotlib import pyplot\npyplot.show()")[0]["images"] == [(5, 4), (6, 4)]


def test_a_figure_that_is_a_value_is_closed_and_one_that_cannot_be_drawn_costs_no_text(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[object] = []

    class Figure:
        """Seven wide."""

        def savefig(self, file: io.BytesIO, **_: str) -> None:
            Image.new("RGB", (7, 4)).save(file, "PNG")

    Figure.__module__ = "matplotlib.figure"
    pyplot = SimpleNamespace(get_fignums=lambda: 1 // 0, close=closed.append)
    monkeypatch.setitem(sys.modules, "matplotlib", SimpleNamespace(pyplot=pyplot))
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", pyplot)  # type: ignore[arg-type]
    reply, _ = run("print(1)\nfigure", variables={"figure": (figure := Figure())})
    assert (reply["stdout"], reply["images"], closed) == ("1\n", [(7, 4)], [figure])


def test_a_process_is_bounded_and_ends_with_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    limits, asked = dict[int, tuple[int, int]](), list[tuple[int, ...]]()
    monkeypatch.setattr(resource, "setrlimit", limits.__setitem__)
    runner.limit(1000, 10, 7)
    most = {resource.RLIMIT_AS: 1000, resource.RLIMIT_FSIZE: 10, resource.RLIMIT_NPROC: 7, resource.RLIMIT_CORE: 0}
    assert {each: limits[each] for each in most} == {each: (value, value) for each, value in most.items()}
    limits.clear()
    runner.limit(1000, 10, 0)
    assert resource.RLIMIT_NPROC not in limits
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(prctl=lambda *words: asked.append(words)))
    runner._end_with_parent()
    assert asked == [(1, signal.SIGKILL)]  # PR_SET_PDEATHSIG of <linux/prctl.h>
    with pytest.raises(EOFError):
        runner.read(io.BytesIO(b"\0\0"))  # type: ignore[arg-type]


LOOK = {"functions": {"look": ("image", "text=")}}


@pytest.mark.parametrize("code", ["look()", "look(1, 2, 3)", "look(1, image=2)", "look(text='a')", "look(1, size=2)"])
def test_a_function_says_how_it_is_called(run: Run, code: str) -> None:
    assert "TypeError: it is look(image, text=)" in run(code, **LOOK)[0]["stderr"]


def test_a_function_of_code_that_has_ended_calls_nothing(run: Run) -> None:
    assert run("kept = look\nlook.__name__", **LOOK)[0]["stdout"] == "'look'\n"
    assert "CallError: look() belongs to code that has ended" in run("kept(1)", **LOOK)[0]["stderr"]


@pytest.mark.parametrize(
    ("code", "how"),
    [
        (-9, "by SIGKILL"), (137, "by SIGKILL"), (-11, "by SIGSEGV"), (139, "by SIGSEGV"), (1, "with exit code 1"),
        (0, "with exit code 0"), (None, "with exit code None"),
    ],
)  # fmt: skip
def test_a_model_is_told_how_its_interpreter_ended(code: int | None, how: str) -> None:
    child = object.__new__(Child)
    child._popen = SimpleNamespace(wait=lambda _: code, returncode=code)  # type: ignore[assignment]
    assert str(child._ended()).startswith(f"Error: the interpreter ended {how}, which may be for lack of memory.")


MACHINE = Machine(512, 4, ())
WANTED = Request("code", (), "none", max_images=1, max_pixels=100, max_characters=9, id=7, max_call_images=2)


@pytest.mark.parametrize(
    ("frame", "fits"),
    [
        (Asked(7, "look", {}, ((10, 10),)), True),
        (Asked(7, "look", {}, ((10, 5), (5, 10))), True),
        (Asked(7, "look", {}, ((10, 10), (1, 1))), False),  # the pixels of all its images count
        (Asked(7, "look", {}, ((1, 1),) * 3), False),
        (Asked(8, "look", {}), False),
        (Reply(7, "", "", (), False, ((10, 10),)), True),
        (Reply(7, "", "", (), False, ((10, 11),)), False),
        (Reply(7, "", "", (), False, ((1, 1), (1, 1))), False),
        (Reply(6, "", "", (), False, ()), False),
    ],
)
def test_what_a_process_says_is_within_its_bounds(
    frame: Asked | Reply, fits: bool, monkeypatch: pytest.MonkeyPatch
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
    reply = Reply(7, "a" * 200, "b" * 200, ("n" * 300,) * 9, False, ())
    monkeypatch.setattr(child, "_found", lambda *_: reply, raising=False)
    short, pixels = child._reply(WANTED, 0, 0, None)
    assert (short.stdout, short.stderr, short.notes, pixels) == ("a" * 118, "b" * 118, ("n" * 200,) * 8, [])


def test_frames_have_the_size_that_was_said(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_bytes", lambda *_: b"\0\0\0\4", raising=False)
    assert child._read(4, 0) == b"\0\0\0\4"
    with pytest.raises(DiedError, match="sent too much"):
        child._read(3, 0)
    with pytest.raises(DiedError, match="connection to the interpreter broke"):
        child._pixels([(2, 1)], 0, 0)


def test_without_a_sandbox_all_that_code_started_is_killed_and_its_folder_goes(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[object] = []
    monkeypatch.setattr(os, "killpg", lambda *words: killed.append(words))
    kill = partial(killed.append, "kill")
    popen = SimpleNamespace(returncode=None, kill=kill, wait=lambda: None, stdin=io.BytesIO(), stdout=io.BytesIO())
    child._popen, child.pid, child._folder = popen, 7, tmp_path / "own"  # type: ignore[assignment]
    child._folder.mkdir()
    child.kill()
    assert (killed, child._folder.exists()) == ([(7, signal.SIGKILL), "kill"], False)


def test_a_process_that_has_ended_has_nothing_to_watch_or_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise ProcessLookupError

    monkeypatch.setattr(children, "Watch", gone)
    for text in (b'{"child-pid": 5}', b"{}"):
        info, written = os.pipe()
        os.write(written, text)
        assert children._is_ready(info, select.POLLIN, 0)
        os.close(written)
        assert children._watch(os.dup(info), MACHINE) is None
        assert not children._is_ready(info, select.POLLIN, 0)  # it has hung up
        os.close(info)


def test_what_the_kernel_counts_is_read_behind_a_name_of_any_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = " ".join(map(str, range(4, 53)))  # each is its own number, of proc(5)
    (tmp_path / "stat").write_text(f"7 (a) b) T {fields}\n")
    watched = object.__new__(Watch)
    watched._group, watched._stat = None, os.open(tmp_path / "stat", os.O_RDONLY)
    watched._open = [watched._stat]
    assert watched._used() == ((14 + 15) / os.sysconf("SC_CLK_TCK"), 20)  # utime, stime; num_threads
    assert (watched.held(), watched.is_stopped()) == (24 * os.sysconf("SC_PAGE_SIZE"), True)  # rss
    close, closed = os.close, list[int]()
    with monkeypatch.context() as patched:
        patched.setattr(os, "close", lambda number: (closed.append(number), close(number)))
        watched.close()
    assert watched._stat in closed


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("text", "text"),
        ("half \ud800", "half ?"),
        (None, None),
        (True, True),
        (2**63 - 1, 2**63 - 1),
        (-(2**63) + 1, -(2**63) + 1),
        (0.5, 0.5),
        (1e30, 1e30),
        ((1, [2.5, None]), [1, [2.5, None]]),
        ({1: "a", "b": (1,)}, {"object": {"1": "a", "b": [1]}}),
        (2**40, 2**40),
        (-0.0, -0.0),
        (numpy.array([[1, 2]]), [[1, 2]]),
        (numpy.float32(0.5), 0.5),
    ],
    ids=str,
)
def test_what_a_function_is_given_is_json(value: Any, written: Any) -> None:
    assert runner._written(value, "look", []) == written


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (2**63, "look takes finite numbers"),
        (-(2**63), "look takes finite numbers"),
        (float("nan"), "look takes finite numbers"),
        ([1, {"a": float("inf")}], "look takes finite numbers"),
        (numpy.array([1.0, numpy.nan]), "look takes finite numbers"),
        ({1, 2}, "look takes images of PIL.*this is set"),
        (print, "look takes images of PIL.*this is builtin_function_or_method"),
    ],
    ids=str,
)
def test_what_no_json_holds_is_not_given_to_a_function(value: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        runner._written(value, "look", [])


def test_images_that_a_function_is_given_are_numbered() -> None:
    images: list[Any] = []
    found = runner._written([Image.new("L", (2, 3)), {"b": Image.new("RGBA", (4, 5))}], "look", images)
    assert found == [{"image": 0}, {"object": {"b": {"image": 1}}}]
    assert [(image.mode, image.size) for image in images] == [("RGB", (2, 3)), ("RGB", (4, 5))]


def test_an_error_that_is_raised_while_another_is_handled_has_frames_of_the_code_alone() -> None:
    namespace: dict[str, Any] = {"json": json}
    code = compile("try:\n    json.loads('{')\nexcept ValueError:\n    1 / 0", "<code>", "exec")
    with pytest.raises(ZeroDivisionError) as raised:
        exec(code, namespace)
    shown = _shortened(raised.value)
    assert "JSONDecodeError" in shown
    assert "ZeroDivisionError" in shown
    assert [line for line in shown.splitlines() if line.startswith("  File ") and "<code>" not in line] == []


def png_of(width: int) -> bytes:
    Image.new("RGB", (width, 2)).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


def test_a_message_larger_than_a_buffer_comes_whole() -> None:
    ours, theirs = os.pipe()
    frame = bytes(60_000)  # a buffer holds 8192 of it, and a pipe may hold a page alone
    with os.fdopen(ours, "rb") as reader, os.fdopen(theirs, "wb") as writer:
        sending = threading.Thread(target=runner.write, args=(writer, frame), daemon=True)
        sending.start()
        assert runner.read(reader) == frame
        sending.join(60)


def test_a_call_sends_its_pictures_and_gets_a_value_pictures_or_a_reason() -> None:
    answers, sent = io.BytesIO(), io.BytesIO()
    for frame in (
        runner.as_json({"value": [1], "error": None, "images": 0}),
        runner.as_json({"value": None, "error": None, "images": 2}), png_of(5), png_of(6),
        runner.as_json({"value": None, "error": "", "images": 0}),
    ):  # fmt: skip
        runner.write(answers, frame)  # type: ignore[arg-type]
    answers.seek(0)
    channel = Channel(answers, sent)  # type: ignore[arg-type]
    channel.id, channel.max_images, channel.max_pixels = 7, 2, 100
    given = {"a": Image.new("L", (3, 2)), "b": [Image.new("RGB", (1, 1), "red")]}
    assert channel.call(7, "look", given) == [1]
    sent.seek(0)
    call, *pixels = (runner.read(sent) for _ in range(3))  # type: ignore[arg-type]
    assert json.loads(call) == {
        "kind": "call", "id": 7, "name": "look", "arguments": {"a": {"image": 0}, "b": [{"image": 1}]},
        "images": [[3, 2], [1, 1]],
    }  # fmt: skip
    assert pixels == [bytes(18), b"\xff\0\0"]
    assert [image.size for image in channel.call(7, "look", {})] == [(5, 2), (6, 2)]
    with pytest.raises(runner.CallError, match="at most 2 images"):
        channel.call(7, "look", {"a": [Image.new("L", (1, 1))] * 3})  # nothing is sent
    with pytest.raises(runner.CallError, match=r"^$"):
        channel.call(7, "look", {})
    with pytest.raises(runner.CallError, match="belongs to code that has ended"):
        channel.call(6, "look", {})


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), 2**63, -(2**63), object(), {1}])
def test_what_no_function_takes_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match=r"^look\(\) takes "):
        runner._written([value], "look()", [])
