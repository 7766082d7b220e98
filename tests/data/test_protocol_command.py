"""`virc data protocol`: the chat protocol of a dataset as a file, and what is solved with it."""

import json
from pathlib import Path

import pytest
from support import crux
from support.called import virc
from support.servers import Body, serve


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> crux.Crux:
    return crux.build(tmp_path_factory.mktemp("crux") / "set", unpacked=True)


def text_of(message: Body) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")


@pytest.mark.parametrize("row", [2])
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
