"""`virc data protocol`: the chat protocol of a dataset as a file, and what is solved with it."""

import json
from pathlib import Path

import pytest
from support import crux
from support.called import virc
from support.servers import Body, serve

from virc.models.chat_protocol import read_protocol
from virc.reasoning.protocol import Protocol


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> crux.Crux:
    return crux.build(tmp_path_factory.mktemp("crux") / "set", unpacked=True)


def text_of(message: Body) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")


@pytest.mark.parametrize("row", [1, 2, 6])
def test_a_solution_in_the_chat_protocol_found_is_the_row_it_was_found_in(
    published: crux.Crux, tmp_path: Path, row: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    file = tmp_path / "virc_protocol.json"
    assert virc("data", "protocol", published.dynamic, "--to", file).out == f"{file}\n"
    record = json.loads(published.dynamic.read_text())[row]
    told = [message["content"].replace("<image>", "") for message in record["messages"]]
    question = told[1].partition("Question: ")[2].partition("\n\n")[0]
    asked = told[1].count("Image ")
    images = [published.folder / name for name in record["images"][:asked]]
    more = [word for image in images[1:] for word in ("--image", image)]
    with serve(told[2::2]) as server:
        done = virc("solve", images[0], question, *more, "--endpoint", server.url, "--protocol", file)
    assert done.code == 0, done.err
    assert [text_of(message) for message in server.chats()[-1]["messages"]] == told[:-1]


def test_without_a_file_the_chat_protocol_is_all_that_stands_on_stdout(published: crux.Crux, tmp_path: Path) -> None:
    done = virc("data", "protocol", published.fixed, "--rows", "3")
    file = tmp_path / "virc_protocol.json"
    file.write_text(done.out)
    protocol: Protocol = read_protocol(file)
    assert (protocol.coordinates, protocol.images, protocol.name) == ("permille", "square_1000", "trained")
    assert "3 rows with 8 replies" in done.err
    assert "crop_image 4, scale_image 1" in done.err
    assert "coordinates: permille (as the tool's schema says)" in done.err


def test_options_say_what_the_rows_do_not(published: crux.Crux) -> None:
    words = ("data", "protocol", published.fixed, "--json")
    assert virc(*words, "--images", "smart").json["protocol"]["images"] == "smart"
    assert virc(*words, "--coordinates", "pixel").json["protocol"]["coordinates"] == "pixel"
    assert virc(*words, "--coordinates", "inches").code == 2


def test_what_few_rows_do_not_show_is_said(published: crux.Crux) -> None:
    done = virc("data", "protocol", published.val, "--rows", "1", "--json")
    assert done.json["rows"] == 1
    assert [note.split(":")[0] for note in done.json["notes"]] == [
        "no row cuts or displays an image", "no row scales an image",
    ]  # fmt: skip
    assert done.err.count("warning: no row ") == 2


def test_a_folder_with_one_file_is_that_file(published: crux.Crux, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / published.train.name).write_bytes(published.train.read_bytes())
    assert virc("data", "protocol", tmp_path / "one").code == 0
    done = virc("data", "protocol", published.folder)
    assert done.code == 5
    assert "4 files of rows" in done.err


def test_rows_after_the_last_that_is_read_do_not_matter(published: crux.Crux, tmp_path: Path) -> None:
    rows = json.loads(published.dynamic.read_text())
    rows[3]["messages"][1]["content"] = "nothing of the kind"
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    assert virc("data", "protocol", file, "--rows", "3").code == 0
    done = virc("data", "protocol", file, "--json")
    assert done.code == done.json["error"]["code"] == 5
    assert done.json["error"]["message"].startswith("row 4: ")
    assert done.json["protocol"] is None


def test_a_file_that_cannot_be_written_is_one_sentence_and_leaves_nothing(published: crux.Crux, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")
    done = virc("data", "protocol", published.dynamic, "--to", tmp_path / "there" / "x.json")
    assert done.code == 1
    assert "error: cannot write" in done.err
    (tmp_path / "folder").mkdir()
    assert virc("data", "protocol", published.dynamic, "--to", tmp_path / "folder").code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "there"]


def test_problems_have_no_chat_protocol(tmp_path: Path) -> None:
    file = tmp_path / "problems.jsonl"
    file.write_text('{"id": 1, "image": "a.png", "question": "What?"}\n')
    done = virc("data", "protocol", file)
    assert done.code == 5
    assert "no conversation" in done.err
