"""`virc solve` by its real entry point: every option, on a scripted endpoint."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from PIL import Image
from support.called import virc
from support.servers import Body, Server, image_bytes, serve
from support.solving import CROP, answer, picture
from support.tables import each_case

from virc.core.seeds import derived
from virc.reasoning.protocol import Protocol

CROP_CALL = '{"name": "crop_image", "arguments": {"image_index": 0, "bbox_2d": [1, 2, 30, 40]}}'


@pytest.fixture
def server() -> Iterator[Server]:
    """Crops once, then answers 97."""
    with serve([CROP, answer("97")]) as server:
        yield server


def sent_images(server: Server) -> list[tuple[int, int]]:
    """Sizes of the images in the last request."""
    parts = [part for message in server.chats()[-1]["messages"] for part in message["content"]]
    shown = [part for part in parts if isinstance(part, dict) and part["type"] == "image_url"]
    return [Image.open(io.BytesIO(image_bytes(part))).size for part in shown]


def question_of(server: Server) -> str:
    return str(server.chats()[0]["messages"][1]["content"][-1]["text"])


def test_the_answer_alone_is_on_stdout_and_the_thoughts_on_stderr(server: Server, image: Path) -> None:
    done = virc("solve", image, "Find $x$", "--endpoint", server.url)
    assert (done.code, done.out) == (0, "97\n")
    assert "I look closer.\n-> crop 0,0–56,56 of image 0: image 1\nNow it is clear.\n" in done.err
    assert "<" not in done.err
    assert "\x1b" not in done.err


@pytest.mark.parametrize("text", ["1\r\n2", "1\u20282"])
def test_an_answer_is_one_line(text: str, image: Path) -> None:
    with serve([answer(text)]) as server:
        assert virc("solve", image, "q", "--endpoint", server.url).out == "1 2\n"


def test_nothing_but_line_ends_changes_in_an_answer(image: Path) -> None:
    text = r"\frac{1}{2}   ∠ \n  <b>"
    with serve([answer(text)]) as server:
        assert virc("solve", image, "q", "--endpoint", server.url).out == text + "\n"
        assert virc("solve", image, "q", "--endpoint", server.url, "--json").json["answer"] == text


def test_json_says_what_was_asked_and_how(server: Server, image: Path) -> None:
    done = virc("solve", image, "q", "--endpoint", server.url, "--json")
    found = done.json
    assert found["tokens"]["prompt"] > found["tokens"]["completion"] > 0
    del found["tokens"]
    assert re.fullmatch("[0-9a-f]{16}", found["settings"].pop("chat_protocol"))
    assert found == {
        "schema": "virc.solve/1",
        "answer": "97",
        "error": None,
        "warnings": [],
        "pictures": [
            {"frames": 1, "shown": 1, "background": None, "range": None, "missing": 0, "notes": [], "scaled": 1.0}
        ],
        "model": "virc-scripted",
        "protocol": "stock",
        "family": "unknown",
        "coordinates": "pixel",
        "protocol_from": "its name tells nothing",
        "loaded": None,
        "device": None,
        "turns": 2,
        "replies": 2,
        "calls": {"crop_image": 1},
        "settings": {
            "max_pixels": 2508800,
            "max_turns": 16,
            "max_tokens": 4096,
            "timeout": None,
            "temperature": 0.0,
            "seed": 0,
            "samples": 1,
        },
        "trace": None,
    }
    assert "I look closer." in done.err


def test_every_setting_is_echoed_and_reaches_the_server(server: Server, image: Path) -> None:
    words = "--max-pixels 6000 --max-turns 3 --max-tokens 77 --timeout 50 --temperature 0.7 --seed 9".split()
    found = virc("solve", image, "q", "--endpoint", server.url, "--json", *words).json
    assert found["settings"] | {"chat_protocol": None} == {
        "max_pixels": 6000,
        "max_turns": 3,
        "max_tokens": 77,
        "timeout": 50,
        "temperature": 0.7,
        "seed": 9,
        "samples": 1,
        "chat_protocol": None,
    }
    request = server.chats()[0]
    assert (request["temperature"], request["seed"]) == (0.7, derived(9, 0, 0))
    assert sent_images(server)[0] == (84, 56)


def test_further_images_stand_in_order(server: Server, image: Path, tmp_path: Path) -> None:
    other, third = picture(tmp_path / "b.png", 56, 84), picture(tmp_path / "c.png", 84, 56)
    virc("solve", image, "q", "--image", other, "--image", third, "--endpoint", server.url)
    assert sent_images(server)[:3] == [(112, 84), (56, 84), (84, 56)]


def test_the_question_comes_from_a_file_or_standard_input(server: Server, image: Path, tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("Find $m\\angle H$\n", encoding="utf-8-sig")
    for words, stdin in (([tmp_path / "q.txt"], b""), (["-"], b"Find $m\\angle H$\n")):
        done = virc("solve", image, "--question-file", *words, "--endpoint", server.url, stdin=stdin)
        assert done.out == "97\n"
        assert "Question: Find $m\\angle H$\n" in question_of(server)
        assert "odd number" not in done.err


def test_the_model_is_named_to_the_endpoint(image: Path) -> None:
    with serve([answer("1")], models=["a", "b"]) as server:
        assert virc("solve", image, "q", "--endpoint", server.url, "--model", "b", "--json").json["model"] == "b"
        assert server.chats()[0]["model"] == "b"
        done = virc("solve", image, "q", "--endpoint", server.url)
        assert done.code == 3
        assert "--model a" in done.err


def test_endpoint_and_key_come_from_the_environment(
    server: Server, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_ENDPOINT", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    done = virc("solve", image, "q", "--json")
    assert done.json["answer"] == "97"
    assert server.requests[-1].headers["authorization"] == "Bearer secret-key"
    assert "secret-key" not in done.out + done.err


def test_a_published_chat_protocol_is_used_without_a_word(image: Path, own: Protocol) -> None:
    protocol = msgspec.structs.replace(own, system="As trained.", name="trained")
    with serve([answer("1")], extra={"virc_protocol": msgspec.to_builtins(protocol)}) as server:
        done = virc("solve", image, "q", "--endpoint", server.url, "--json")
        assert (done.json["protocol"], done.err.count("warning")) == ("trained", 0)
        assert server.chats()[0]["messages"][0]["content"] == "As trained."


def test_a_trace_is_written_and_named(server: Server, image: Path, tmp_path: Path) -> None:
    folder = tmp_path / "trace"
    done = virc("solve", image, "q", "--endpoint", server.url, "--trace", folder, "--json")
    assert done.json["trace"] == str(folder)
    assert f"\nthe trace is in {folder / 'index.html'}\n" in done.err
    names = {"conversation.json", "trace.json", "index.html", "image-0.png", "image-1.png"}
    assert {path.name for path in folder.iterdir()} == names
    record = json.loads((folder / "trace.json").read_text())
    assert (record["answer"], record["model"]) == ("97", "virc-scripted")
    assert [each["temperature"] for each in record["sampling"]["tries"]] == [0.0, 0.5, 0.8, 1.0]
    assert record["versions"]["virc"]


def test_no_answer_prints_nothing_and_exits_8(image: Path) -> None:
    with serve([answer("unreadable")]) as server:
        done = virc("solve", image, "q", "--endpoint", server.url)
        assert (done.code, done.out) == (8, "")
        found = virc("solve", image, "q", "--endpoint", server.url, "--json").json
    assert (found["answer"], found["error"]["code"], found["error"]["kind"]) == (None, 8, "no_answer")
    assert (found["turns"], found["model"]) == (1, "virc-scripted")


def test_an_endpoint_that_fails_midway_keeps_the_trace(image: Path, tmp_path: Path) -> None:
    with serve([CROP]) as server:  # it hangs up when the second turn is asked for
        done = virc("solve", image, "q", "--endpoint", server.url, "--trace", tmp_path / "t", "--json")
    assert (done.code, done.json["turns"], done.json["trace"]) == (6, 1, str(tmp_path / "t"))
    record = json.loads((tmp_path / "t" / "trace.json").read_text())
    assert (len(record["units"]), record["failure"]["kind"]) == (1, "network")


def test_nothing_in_an_answer_or_a_thought_drives_the_terminal(image: Path) -> None:
    with serve([answer("97", thought="a\x1b[2Jb\x07")]) as server:
        done = virc("solve", image, "q", "--endpoint", server.url)
    assert "\x1b" not in done.err
    assert "\x07" not in done.err


def test_an_answer_survives_a_trace_that_cannot_be_written(image: Path, tmp_path: Path) -> None:
    def spoil(_: Body) -> str:
        (tmp_path / "file").write_text("")
        return answer("97")

    done = []
    for words in ((), ("--json",)):
        with serve(spoil) as server:
            (tmp_path / "file").unlink(missing_ok=True)
            done.append(virc("solve", image, "q", "--endpoint", server.url, "--trace", tmp_path / "file" / "t", *words))
    plain, as_json = done
    assert (plain.code, plain.out) == (as_json.code, "97\n")
    assert plain.code != 0
    assert (as_json.json["answer"], as_json.json["trace"]) == ("97", None)


@each_case(
    ("reply", "code", "out", "err"),
    [
        ("[THINK]so it is[/THINK]42</s>[INST]And now?[/INST]13", 0, "42\n", "so it is\n"),
        (
            f"I look.<|python_tag|>{CROP_CALL}",
            8,
            "",
            "-> this reply cannot be used: the reply calls a tool in marks that",
        ),
    ],
)
def test_of_a_reply_without_marks_of_its_grammar_the_answer_alone_is_printed(
    reply: str, code: int, out: str, err: str, tmp_path: Path, image: Path
) -> None:
    system = tmp_path / "bare.yaml"
    system.write_text("name: bare\nchat_protocol: {first: '{question}', grammar: {think: null, answer: null}}\n")
    with serve([reply]) as server:
        done = virc("solve", image, "q", "--endpoint", server.url, "--system", system)
    assert (done.code, done.out) == (code, out)
    assert err in done.err
    assert not any(mark in done.err for mark in ("THINK", "think▷", "<|", "13"))
