"""Each promise of a failing command, once, in this process; `test_cli_failures.py` has further cases in their own."""

import io
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.called import Done, virc
from support.entry import BOOM
from support.tables import each_case

from virc.core import entry_points, errors
from virc.core.errors import VircError
from virc.core.plan import Change, Plan, Step
from virc_cli import commands
from virc_cli.console import confirm, output, plans
from virc_cli.main import every_command

CODES = {
    "VircError": 1, "UsageError": 2, "ConfigError": 3, "SetupError": 4, "DataError": 5, "NetworkError": 6,
    "EngineError": 7, "NoAnswerError": 8, "LimitError": 9,
}  # fmt: skip


@pytest.fixture
def boom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that fails on demand."""
    (folder := tmp_path / "commands").mkdir()
    (folder / "boom.py").write_text(BOOM)
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "virc_cli.commands.boom", raising=False)


@pytest.mark.usefixtures("boom")
@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_an_error_is_a_sentence_a_hint_and_its_code(name: str, code: int) -> None:
    assert virc("boom", name) == Done(code, "", "error: it broke\nhint: mend it\n")
    done = virc("boom", name, "--json")
    error = {"code": code, "kind": getattr(errors, name).kind, "message": "it broke", "hint": "mend it"}
    assert done.json == {"schema": "virc.boom/1", "answer": None, "model": "m", "error": error}
    assert (done.code, done.err) == (code, "error: it broke\nhint: mend it\n")


@pytest.mark.usefixtures("boom")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["bug"], 1, "error: internal: ZeroDivisionError: by zero\nhint: VIRC_DEBUG=1"),
        (["memory"], 4, "error: out of memory\n"),
        (["denied"], 1, "error: permission denied: out.json\nhint: choose a place that you may write to\n"),
        (["one", "two"], 2, "error: say it in one word\nhint: quote it\n"),
        (["--", "UsageError", "--json"], 2, "error: got unexpected extra"),
        (["write", "--size", "x"], 2, "error: invalid value for '--size': 'x' is not a valid int"),
    ],
)
def test_an_unforeseen_error_is_one_line(words: list[str], code: int, said: str) -> None:
    done = virc("boom", *words)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(said[:40])
    assert "Traceback" not in done.err


@pytest.mark.usefixtures("boom")
def test_data_are_on_stdout_and_all_else_on_stderr() -> None:
    done = virc("boom", "say")
    assert done.out == "∠ = 50° \\ud800\n"  # what UTF-8 cannot hold is written out
    assert done.err == "a\\u001b[2Jb\nwarning: careful\nhint: slowly\n"


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch, typed: str = "") -> Terminal:
    """What is printed from here on; pytest's own streams come back between the phases of a test."""
    found = Terminal()
    for name, stream in (("stdin", Terminal(typed)), ("stdout", found), ("stderr", found)):
        monkeypatch.setattr(sys, name, stream)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return found


def test_a_terminal_is_driven_by_nobody_and_in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    output.line("97\x1b]0;title\x07\u202e\ttab")
    output.error(VircError("csi \x9b2J"))
    assert terminal.getvalue() == ("97\\u001b]0;title\\u0007\\u202e\ttab\n\x1b[1;31merror:\x1b[0m csi \\u009b2J\n")
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as patched:
            patched.setenv(name, value)
            assert output.style("x", "1") == "x"


@pytest.mark.parametrize(
    ("typed", "agreed"), [("y\n", True), ("YES\n", True), ("\n", False), ("n\n", False), ("", False)]
)
def test_only_a_yes_deletes(monkeypatch: pytest.MonkeyPatch, typed: str, agreed: bool) -> None:
    terminal = on_terminal(monkeypatch, typed)
    if agreed:
        confirm.agree_to_delete(["first"], 2_000)
    else:
        with pytest.raises(VircError, match="nothing was deleted"):
            confirm.agree_to_delete(["first"], 2_000)
    assert "delete first, 2 KB? [y/N]" in terminal.getvalue()


def test_without_a_terminal_nothing_is_deleted() -> None:
    with pytest.raises(errors.UsageError, match="no terminal to ask on"):
        confirm.agree_to_delete(["first"], 2_000)
    with pytest.raises(errors.ConfigError, match="second started from first"):
        confirm.check_unused("first", ["second"])
    confirm.check_unused("first", [])


def test_a_plan_shows_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    env = {"HF_TOKEN": "s3cret", "VIRC_API_KEY": "s3cret", "CUDA_VISIBLE_DEVICES": "-1", "PASSWORD": "",
           "DB_PASSWORD": "s3cret"}  # fmt: skip
    plan = Plan(Step(("verl", "a=1"), "", env), {"/rows.yaml": "a: 1\n\n"}, (Change("lr", 1e-6, None, "it is ours"),))
    plans.show(plan)
    assert capsys.readouterr().out == (
        "# command\nverl \\\n  a=1\n\n# environment; an empty value takes the variable away\nHF_TOKEN=***\n"
        "VIRC_API_KEY=***\nCUDA_VISIBLE_DEVICES=-1\nPASSWORD=\nDB_PASSWORD=***\n\n# /rows.yaml\na: 1\n"
        "\n# changed from published\nkey  published  here  why\nlr   1e-06      -     it is ours\n"
    )
    assert plans.fields(plan)["environment"]["HF_TOKEN"] == "***"
    assert plans.fields(plan)["command"] == ["verl", "a=1"]


PIPED = ("--pipeline", "see.py")


@each_case(
    ("words", "extra"),
    [
        (("demo",), "that has the command demo"),
        (("eval", "card", "x"), "that has the command eval.card"),
        (("runs", "plot"), "that has the command runs.plot"),
        (("solve", "a.png", "q", "--strategy", "best_of:n=2"), "that has the strategy best_of"),
        *((words, "that has the benchmark vstar") for words in (("eval", "vstar"), ("download", "eval", "vstar"))),
        *((words, "that runs pipelines") for words in (
            ("solve", "a.png", "x?", *PIPED), ("eval", "rows.jsonl", *PIPED), ("serve", "--agent", "--dry-run", *PIPED),
        )),
        *((("eval", "rows.jsonl", *words), f"that has {words[0]}") for words in (
            ("--looks",), ("--against", "paper"), ("--against-run", "rows.jsonl"), ("--sign", "key"),
            ("--environment",),
        )),
        (("data", "synth", "--to", "new", "--count", 1, "--refusals", 0.001), "of virc data synth --refusals"),
    ],
)  # fmt: skip
def test_an_extra_that_is_not_here_is_named_before_anything_is_done(
    words: tuple[object, ...], extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (112, 84)).save("a.png")
    Path("rows.jsonl").write_text('{"image": "a.png", "question": "q", "answer": "5"}\n')
    every_command()  # a group that is first imported below would lack the commands of extras for good
    for name in ("own", "modules"):
        monkeypatch.setattr(entry_points, name, lambda group: {})
    done = virc(*words)
    assert (done.code, done.out, sorted(path.name for path in tmp_path.iterdir())) == (3, "", ["a.png", "rows.jsonl"])
    assert done.err.startswith(f"error: the extra {extra} is not installed\n"), done.err
