"""What virc makes of what servers send: the right answer, or nothing on stdout and an error that names its cause."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from behaviours import bad, gateways, good, refusals
from behaviours.rows import KEY, Row
from PIL import Image
from support.called import virc
from support.servers import Exchange, Fault, Server, serve
from support.workspaces import own_settings

KINDS = (good, bad, refusals, gateways)
ROWS = {f"{kind.__name__.rpartition('.')[2]}-{row.name}": row for kind in KINDS for row in kind.ROWS}
QUESTION = "Which number stands on the card?"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(models=["m-vl"], owned_by="someone") as running:
        yield running


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A picture of few bytes, and one of many, which a server may find too large."""
    folder = tmp_path_factory.mktemp("behaviours")
    Image.linear_gradient("L").resize((560, 420)).convert("RGB").save(few := folder / "card.png")
    Image.effect_noise((560, 420), 90).convert("RGB").save(many := folder / "noise.png")
    return few, many


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of this machine."""
    own_settings(monkeypatch, tmp_path)
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))


def sent(row: Row) -> Fault:
    before = iter(row.before)

    def send(exchange: Exchange) -> None:
        for status, body, headers in before:
            exchange.start(status, {"Content-Length": str(len(body)), **headers})
            exchange.wfile.write(body)
            return
        kind = {"Content-Type": row.kind} if row.kind else {}
        if isinstance(row.body, bytes):
            length = {} if row.status == 204 else {"Content-Length": str(len(row.body))}
            exchange.start(row.status, {**kind, **length, **row.headers})
            exchange.wfile.write(row.body)
        else:
            exchange.start(row.status, {**kind, "Transfer-Encoding": "chunked", **row.headers})
            for piece in row.body:
                exchange.send_chunk(piece)
            exchange.send_chunk(b"")

    return send


@pytest.mark.parametrize("name", ROWS)
def test_a_behaviour_ends_in_its_answer_or_its_cause(
    name: str, server: Server, pictures: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = ROWS[name]
    picture = pictures[bool(row.before)]
    before = len(server.chats())
    server.script.fault = sent(row)
    monkeypatch.setenv("VIRC_API_KEY", row.key)
    done = virc("solve", "--endpoint", server.url, *row.options, picture, QUESTION)
    said = re.sub(r"\s+", " ", done.err).lower()
    assert done.out == ("" if row.answer is None else f"{row.answer}\n"), done.err
    assert done.code == row.code, done.err
    missing = [word for word in row.words if word not in said]
    assert not missing, done.err
    assert KEY not in done.err
    assert row.chats in (None, len(server.chats()) - before)
