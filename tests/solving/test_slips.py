"""A newcomer's slips: what is said of each, and that the line in the hint, pasted, gives an answer."""

import shlex
from pathlib import Path

import pytest
from support.called import virc
from support.servers import serve
from support.solving import answer, picture

from virc_cli import slips

MEANT = [
    ("a.png 'What is x?'", "virc solve a.png 'What is x?'"),
    ("What is x? a.png --max-turns 3", "virc solve a.png 'What is x?' --max-turns 3"),
    ("--max-turns 3 solve a.png x?", "virc solve --max-turns 3 a.png 'x?'"),
    ("solve --max-turns 3 a.png what is x? --offline", "virc solve --max-turns 3 a.png 'what is x?' --offline"),
    ("solve a.png --question 'What is x?' --max-turns 3", "virc solve a.png 'What is x?' --max-turns 3"),
    ("a.png b.png x?", "virc batch a.png b.png 'x?'"),
    ("charts 'What is x?'", "virc batch charts 'What is x?'"),
    ("solve --batch rows.csv --to answers.csv", "virc batch rows.csv --to answers.csv"),
    ("batch a.png b.png What is x?", "virc batch a.png b.png 'What is x?'"),
    ("batch charts", "virc batch charts 'QUESTION'"),
]


@pytest.fixture
def here(clean: Path) -> Path:
    """The working folder with pictures, a folder of them, and rows."""
    (clean / "charts").mkdir()
    for name in ("a.png", "b.png", "my figure.png", "charts/c.png"):
        picture(clean / name)
    (clean / "rows.csv").write_text("image,question\na.png,What is x?\n")
    return clean


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("typed", "meant"), MEANT, ids=[typed for typed, _ in MEANT])
def test_the_line_that_was_meant_is_shown_and_works(typed: str, meant: str) -> None:
    done = virc(*shlex.split(typed))
    assert done.code == 2, done.err
    sentence, hint = done.err.splitlines()
    assert (sentence[:7], hint) == ("error: ", f"hint: {meant}")
    with serve(lambda _: answer("7")) as server:
        done = virc(*shlex.split(meant)[1:], "--endpoint", server.url)
    assert done.code == 0, done.err
    written = Path("answers.csv").read_text() if "--to" in meant else done.out
    assert "7" in written


def test_a_file_url_is_a_path_on_the_command_line(here: Path) -> None:
    for url in ((here / "my figure.png").as_uri(), f"file://localhost{here / 'a.png'}", f"FILE://{here / 'a.png'}"):
        with serve([answer("7")]) as server:
            done = virc("solve", url, "What is x?", "--endpoint", server.url)
        assert (done.code, done.out) == (0, "7\n"), done.err
    with serve([]) as server:
        done = virc("solve", f"file://elsewhere{here / 'a.png'}", "What is x?", "--endpoint", server.url)
        assert not server.chats()
    assert (done.code, "is a file of the machine elsewhere" in done.err) == (5, True)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("folder", ["/proc/no/out", "a.png/out"])
def test_a_trace_folder_that_cannot_be_written_is_refused_before_the_model(folder: str) -> None:
    for words in (["solve", "a.png", "q"], ["batch", "a.png", "q"]):
        with serve([]) as server:
            done = virc(*words, "--trace", folder, "--endpoint", server.url)
            assert not server.chats()
        assert done.code in (1, 2), done.err
        assert folder in done.err
        assert "loading" not in done.err


def test_every_option_that_is_named_instead_exists() -> None:
    shown = virc("solve", "--help").out + virc("batch", "--help").out
    for typed, ours in slips.OPTIONS.items():
        if ours not in ("--help", "--version"):
            assert f"{ours} " in shown
            assert f" {typed} " not in shown.replace(", ", " , ") or typed == "-v"
