"""What people type by mistake, each with one sentence and the line they meant, by the real entry point."""

import shlex
import sys
from pathlib import Path

import pytest
from support.called import virc
from support.servers import serve
from support.solving import CROP, answer, picture


def hint(*words: object, stdin: bytes = b"") -> str:
    """What a wrong command line is told, after checking that it is a usage error in one sentence."""
    done = virc("solve", *words, stdin=stdin)
    assert (done.code, done.out) == (2, "")
    sentence, told = done.err.splitlines()
    assert sentence.startswith("error: ")
    assert not sentence.endswith(".")
    return told.removeprefix("hint: ")


def works(line: str, question: str = "what is x?") -> None:
    """A line from a hint, pasted, gives an answer."""
    with serve([answer("1")]) as server:
        program, command, *rest = shlex.split(line)
        assert (program, command) == ("virc", "solve")
        done = virc("solve", "--endpoint", server.url, *rest)
        assert (done.code, done.out) == (0, "1\n"), done.err
        text = server.chats()[0]["messages"][1]["content"][-1]["text"]
        assert f"Question: {question}\n" in text


@pytest.fixture
def here(clean: Path) -> Path:
    """The working folder, with a.png and b.png."""
    picture(clean / "a.png")
    picture(clean / "b.png")
    return clean


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("question", ["-3x+2=0, x?", "-∠A?"])
def test_a_question_that_looks_like_an_option_gets_a_double_dash(question: str) -> None:
    told = f"virc solve a.png -- {shlex.quote(question)}"
    assert hint("a.png", question) == hint(question, "a.png") == told
    works(told, question=question)


@pytest.mark.usefixtures("here")
def test_quiet_prints_the_answer_alone_and_verbose_the_rejected_replies() -> None:
    nonsense = CROP.replace("crop_image", "melt_image")
    for words, heard in (((), "cannot be used"), (("-q",), ""), (("-v",), "melt_image")):
        turns = iter([nonsense, answer("1")])
        with serve(lambda _, turns=turns: next(turns)) as server:
            done = virc("solve", "--endpoint", server.url, "a.png", "what is x?", *words)
        assert (done.code, done.out) == (0, "1\n")
        assert heard in done.err
        assert ("I look closer." in done.err) == (words != ("-q",))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("words.png", b"hello", "not a picture"),
        ("empty.png", b"", "is empty"),
        ("photo.heic", b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "sips -s format png"),
    ],
)
def test_what_is_no_picture_is_said_before_any_model_is_loaded(
    name: str, content: bytes, told: str, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # the extra may be here
    (clean / name).write_bytes(content)
    done = virc("solve", name, "q", "--model", "there-is-no-such-model", "--json")
    assert (done.code, done.json["error"]["kind"]) == (5, "data")
    assert name in done.json["error"]["message"]
    assert told in done.err


def test_a_key_that_is_none_is_shown_nowhere_and_stops_only_what_needs_it(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_API_KEY", "sk-one\rsk-two\r\n")
    done = virc("solve", image, "q", "--endpoint", "http://127.0.0.1:9/v1", "--json")
    assert (done.code, done.json["error"]["kind"]) == (3, "config")
    assert "sk-" not in done.out + done.err
    shown = virc("config", "show")
    assert (shown.code, "sk-" in shown.out + shown.err) == (0, False)


@pytest.mark.parametrize("flag", ["https://me:secret-word@host/v1", "me:secret-word@host"])
def test_a_password_in_an_address_is_shown_nowhere(flag: str, image: Path) -> None:
    done = virc("solve", image, "q", "--endpoint", flag, "--json")
    assert (done.code, "VIRC_API_KEY" in done.err) == (2, True)
    assert "secret-word" not in done.out + done.err
