"""Every failure is one lower-case sentence, a hint and an exit code; never a traceback."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.entry import Done, Env, Run

from virc.core import errors
from virc_cli.console import output

pytestmark = pytest.mark.integration


def run(command: Sequence[str], env: Env, **extra: str) -> Done:
    merged = {**env, **extra}
    return subprocess.run(command, env=merged, capture_output=True, encoding="utf-8", timeout=240)


def test_a_subclass_takes_the_code_of_its_nearest_class() -> None:
    assert output.exit_code(type("TooWideError", (errors.DataError,), {})("x")) == 5


def test_json_is_printed_when_the_command_line_is_wrong(boom: list[str], environment: Env) -> None:
    done = run([*boom, "--json"], environment)
    printed = json.loads(done.stdout)
    assert (printed["answer"], printed["model"], printed["error"]["code"]) == (None, None, 2)


@pytest.mark.parametrize(("words", "schema"), [([], "virc/1"), (["nosuch"], "virc/1"), (["config"], "virc.config/1")])
def test_the_schema_names_a_command_that_is_there(words: list[str], schema: str, virc: Run) -> None:
    assert json.loads(virc(*words, "--json").stdout)["schema"] == schema


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


def test_the_module_runs_as_the_console_script_does(virc: Run) -> None:
    done = virc("--version")
    assert done.returncode == 0
    assert re.fullmatch(r"virc \d+\.\d+\.\d+\n", done.stdout), sys.executable
