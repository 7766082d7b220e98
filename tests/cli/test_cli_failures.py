"""Every failure is one lower-case sentence, a hint and an exit code; never a traceback."""

import inspect
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.entry import Done, Env, Run
from support.terminal import rest_of

from virc.core import errors
from virc.core.errors import VircError
from virc_cli.console import output

pytestmark = pytest.mark.integration

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if VircError in (cls, *cls.__bases__)]


def run(command: Sequence[str], env: Env, **extra: str) -> Done:
    merged = {**env, **extra}
    return subprocess.run(command, env=merged, capture_output=True, encoding="utf-8", timeout=240)


def test_every_error_class_has_its_own_exit_code() -> None:
    codes = [output.EXIT_CODES[cls][0] for cls in CLASSES]
    assert sorted(codes) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_subclass_takes_the_code_of_its_nearest_class() -> None:
    assert output.exit_code(type("TooWideError", (errors.DataError,), {})("x")) == 5


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_error_is_a_sentence_a_hint_and_its_code(cls: type[VircError], boom: list[str], environment: Env) -> None:
    done = run([*boom, cls.__name__], environment)
    assert (done.returncode, done.stdout) == (output.EXIT_CODES[cls][0], "")
    assert done.stderr == "error: it broke\nhint: mend it\n"


@pytest.mark.parametrize("cls", [errors.NoAnswerError, errors.NetworkError])
def test_json_looks_the_same_on_failure(cls: type[VircError], boom: list[str], environment: Env) -> None:
    done = run([*boom, cls.__name__, "--json"], environment)
    assert json.loads(done.stdout) == {
        "schema": "virc.boom/1",
        "answer": None,
        "model": "m",
        "error": {"code": done.returncode, "kind": cls.kind, "message": "it broke", "hint": "mend it"},
    }
    assert done.stdout.count("\n") == 1


def test_json_is_printed_when_the_command_line_is_wrong(boom: list[str], environment: Env) -> None:
    done = run([*boom, "--json"], environment)
    printed = json.loads(done.stdout)
    assert (printed["answer"], printed["model"], printed["error"]["code"]) == (None, None, 2)


@pytest.mark.parametrize(("words", "schema"), [([], "virc/1"), (["nosuch"], "virc/1"), (["config"], "virc.config/1")])
def test_the_schema_names_a_command_that_is_there(words: list[str], schema: str, virc: Run) -> None:
    assert json.loads(virc(*words, "--json").stdout)["schema"] == schema


def test_json_behind_the_double_dash_is_an_argument(boom: list[str], environment: Env) -> None:
    done = run([*boom, "--", "UsageError", "--json"], environment)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize(
    ("what", "code", "sentence"),
    [
        ("bug", 1, "error: internal: ZeroDivisionError: by zero\nhint: VIRC_DEBUG=1"),
        ("memory", 4, "error: out of memory\n"),
        ("denied", 1, "error: permission denied: out.json\n"),
    ],
)
def test_an_unforeseen_error_is_one_line(
    what: str, code: int, sentence: str, boom: list[str], environment: Env
) -> None:
    done = run([*boom, what], environment)
    assert done.returncode == code
    assert done.stderr.startswith(sentence)
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(boom: list[str], environment: Env) -> None:
    done = run([*boom, "bug"], environment, VIRC_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "boom.py" in done.stderr


@pytest.mark.parametrize(
    ("words", "sentence", "hint"),
    [
        (["cnfig"], "no such command 'cnfig'", "did you mean 'config'?"),
        (["config", "shwo"], "no such command 'shwo'", "did you mean 'show'?"),
        (["config", "show", "--jsno"], "no such option '--jsno'", "did you mean '--json'?"),
        (["--verison"], "no such option '--verison'", "did you mean '--version'?"),
        (["qqqqqq"], "no such command 'qqqqqq'", "virc --help"),
        (["config"], "missing command", "virc config --help"),
        (["config", "set", "model"], "missing argument 'VALUE'", "virc config set --help"),
    ],
)
def test_a_wrong_command_line_gets_the_right_name(words: list[str], sentence: str, hint: str, virc: Run) -> None:
    done = virc(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {sentence}\nhint: {hint}\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["write", "extra"], r"got unexpected extra argument\S* \(extra\)"),
        (["write", "--size", "x"], r"invalid value for '--size': 'x' is not a valid int\w*"),
        (["write", "--size"], r"option '--size' requires an argument"),
    ],
)
def test_what_the_parser_refuses_is_said_in_our_style(
    words: list[str], sentence: str, boom: list[str], environment: Env
) -> None:
    done = run([*boom, *words], environment)
    assert done.returncode == 2
    assert re.fullmatch(rf"error: {sentence}\nhint: virc.* --help\n", done.stderr)


def test_a_command_may_explain_its_own_usage_errors(boom: list[str], environment: Env) -> None:
    done = run([*boom, "one", "two"], environment)
    assert (done.returncode, done.stderr) == (2, "error: say it in one word\nhint: quote it\n")


def test_no_words_print_the_help(virc: Run) -> None:
    done = virc()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == virc("--help").stdout


def test_help_lists_every_exit_code(virc: Run) -> None:
    printed = " ".join(virc("--help").stdout.split())
    assert all(f"{code} {meaning}" in printed for code, meaning in output.EXIT_CODES.values())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_keeps_its_work(
    number: signal.Signals, code: int, boom: list[str], environment: Env
) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([*boom, "wait", "--json"], env=environment, stdout=pipe, stderr=pipe, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(number)
        printed, said = child.communicate(timeout=240)
    assert child.returncode == code
    assert json.loads(printed)["error"]["code"] == code
    assert said.startswith("kept\nerror: ")
    assert "Traceback" not in said


def test_a_closed_stdout_ends_the_command_quietly(boom: list[str], environment: Env) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    for words in ([*boom, "write", "--size", "5000"], [*boom, "print"], [*boom[:-1], "--help"]):
        done = subprocess.run(words, env=environment, stdout=writing, stderr=subprocess.PIPE, text=True)
        assert (done.returncode, done.stderr) == (141, "")
    os.close(writing)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_one_sentence(boom: list[str], environment: Env) -> None:
    with Path("/dev/full").open("w") as full:
        words = [*boom, "write", "--size", "10", "--json"]
        done = subprocess.run(words, env=environment, stdout=full, stderr=subprocess.PIPE, text=True)
    said = "error: no space left on device\nhint: make room, or choose another disk\n"
    assert (done.returncode, done.stderr) == (1, said)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("words", [["say"], ["NoAnswerError", "--json"], ["bug"], ["--nosuch"], ["wait", "--json"]])
def test_a_stderr_that_takes_nothing_changes_neither_data_nor_code(
    words: list[str], boom: list[str], environment: Env
) -> None:
    def done(stderr: object) -> tuple[int, bytes]:
        pipe, env = subprocess.PIPE, {**environment, "VIRC_DEBUG": "1"}
        with subprocess.Popen([*boom, *words], env=env, stdout=pipe, stderr=stderr) as child:  # type: ignore[call-overload]
            assert child.stdout is not None
            first = child.stdout.readline()
            if words[0] == "wait":
                child.send_signal(signal.SIGINT)
            return child.wait(240), first + child.stdout.read()

    reading, writing = os.pipe()
    os.close(reading)
    with Path("/dev/full").open("w") as full:
        assert done(subprocess.DEVNULL) == done(full) == done(writing)
    os.close(writing)


@pytest.mark.parametrize(("closed", "code"), [("2>&-", 0), (">&-", 141), (">&- 2>&-", 141), ("<&- >&-", 141)])
def test_a_result_that_cannot_be_printed_is_no_success(
    closed: str, code: int, boom: list[str], environment: Env
) -> None:
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", *boom, "say"]
    assert run(command, environment).returncode == code


def test_stdout_is_utf8_whatever_the_locale(boom: list[str], environment: Env) -> None:
    done = run([*boom, "say"], environment, PYTHONIOENCODING="ascii", LC_ALL="C")
    assert (done.returncode, done.stdout) == (0, "∠ = 50° \\ud800\n")


def test_control_characters_cannot_drive_the_terminal(boom: list[str], environment: Env) -> None:
    assert run([*boom, "say"], environment).stderr == "a\\u001b[2Jb\nwarning: careful\nhint: slowly\n"


def test_data_cannot_drive_a_terminal_and_json_stays_what_it_is(boom: list[str], environment: Env) -> None:
    controller, terminal = pty.openpty()
    words = [*boom, "hostile", "--json"]
    done = subprocess.run(words, env=environment, stdout=terminal, stderr=subprocess.PIPE, check=False)
    os.close(terminal)
    shown, printed = rest_of(controller).splitlines()
    assert (done.returncode, shown) == (8, "97\\u001b]0;title\\u0007\\u202e")
    assert json.loads(printed)["error"]["message"] == "csi \u009b2J"
    assert printed.isprintable()


@pytest.mark.parametrize(
    ("extra", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"NO_COLOR": ""}, True)]
)
def test_colour_only_on_a_terminal_that_wants_it(extra: Env, coloured: bool, boom: list[str], environment: Env) -> None:
    controller, terminal = pty.openpty()
    env = {**environment, "TERM": "xterm", **extra}
    done = subprocess.run([*boom, "DataError"], env=env, stdout=subprocess.PIPE, stderr=terminal, check=False)
    os.close(terminal)
    said = rest_of(controller)
    assert done.returncode == 5
    assert ("\x1b[" in said) is coloured
    assert "it broke" in said


def test_a_command_file_needs_no_registration(boom: list[str], environment: Env) -> None:
    assert "Break as told." in run([*boom[:-1], "--help"], environment).stdout


def test_the_module_runs_as_the_console_script_does(virc: Run) -> None:
    done = virc("--version")
    assert done.returncode == 0
    assert re.fullmatch(r"virc \d+\.\d+\.\d+\n", done.stdout), sys.executable
