"""Files of GitHub, against a server that answers as docs.github.com describes it."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from downloads import held
from github_server import GitHub, Project, github
from hub_server import Fault, body, drop, ignore_range, moved, wrong
from support.called import Done, virc

LARGE = random.Random(1).randbytes(2 << 20)
ROWS = json.dumps([{"messages": [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]}])
FILES = {"data/rows.json": ROWS.encode(), "data/a b#c.json": b"[]", "large.bin": LARGE, "x/y/z.txt": b"deep"}
STORED = random.Random(2).randbytes(1 << 20)
TOKEN = "ghp_secret"
PROJECTS = {
    "o/n": Project(FILES, {"stored.bin": STORED}, {"link.json": "data/rows.json"}),
    "o/closed": Project({"rows.json": b"[]"}, members=[TOKEN]),
}
COMMIT = PROJECTS["o/n"].commit
AT = f"https://github.com/o/n/blob/{COMMIT}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[GitHub]:
    monkeypatch.chdir(tmp_path)
    with github(monkeypatch, PROJECTS) as running:
        yield running


def error_of(done: Done) -> tuple[str, str | None]:
    error = done.json["error"]
    return error["message"], error["hint"]


@pytest.mark.parametrize(
    ("address", "path"),
    [
        (f"{AT}/data/rows.json", "data/rows.json"),
        (f"{AT.removeprefix('https://')}/data/a%20b%23c.json?raw=true#L1", "data/a b#c.json"),
        ("https://github.com/o/n/raw/refs/heads/main/x/y/z.txt", "x/y/z.txt"),
        (f"https://raw.githubusercontent.com/o/n/{COMMIT}/data/rows.json?token=a", "data/rows.json"),
    ],
)
def test_a_file_at_a_commit_keeps_its_path(address: str, path: str, server: GitHub) -> None:
    done = virc("download", address)
    assert (done.code, done.out) == (0, "data/n\n"), done.err
    assert held(Path("data/n")) == {path: FILES[path]}
    record = json.loads(Path("data/n/.virc-download/record.json").read_text())
    assert (record["host"], record["repo"], record["commit"]) == ("github", "o/n", COMMIT)


@pytest.mark.parametrize(
    ("fault", "address", "on"),
    [(drop(700_000, reset=True), f"{AT}/large.bin", "raw"), (ignore_range, f"{AT}/large.bin", "raw")],
)
def test_an_interruption_is_got_over(fault: Fault, address: str, on: str, server: GitHub) -> None:
    server.misbehave(fault, on=on, times=2)
    assert virc("download", address).code == 0
    assert next(iter(held(Path("data/n")).values())) == LARGE


def test_a_second_call_goes_on_inside_the_file(server: GitHub) -> None:
    server.misbehave(drop(300_000), on="raw")
    server.misbehave(drop(0), on="raw", skip=1, times=None)
    assert virc("download", f"{AT}/large.bin").code == 6
    server.behave()
    sent = server.sent("*/large.bin")
    done = virc("download", f"{AT}/large.bin")
    assert done.code == 0, done.err
    assert held(Path("data/n")) == {"large.bin": LARGE}
    assert server.sent("*/large.bin") - sent < len(LARGE)


@pytest.mark.parametrize(
    ("address", "on"), [(f"{AT}/large.bin", "raw"), (f"{AT}/x/y/z.txt", "raw"), (f"{AT}/stored.bin", "media")]
)
def test_another_content_is_refused(address: str, on: str, server: GitHub) -> None:
    server.misbehave(wrong(1), on=on, times=None)
    done = virc("download", address, "--json")
    assert done.code == 6
    assert " with " in error_of(done)[0]
    assert not (Path("data/n").exists() and held(Path("data/n")))


def test_the_token_goes_to_github_alone(server: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = f"github.com/o/closed/blob/{PROJECTS['o/closed'].commit}/rows.json"
    done = virc("download", closed, "--json")
    assert done.code == 3
    assert "or it is private" in error_of(done)[0]
    assert "GITHUB_TOKEN" in (error_of(done)[1] or "")
    server.tokens.add(TOKEN)
    monkeypatch.setenv("GITHUB_TOKEN", f"{TOKEN}\r\n")  # as a file of it ends
    assert virc("download", closed).code == 0
    told = {(r.on, r.headers.get("authorization")) for r in server.requests[1:]}
    assert told == {("api", f"Bearer {TOKEN}"), ("raw", f"Bearer {TOKEN}")}
    assert all(TOKEN not in text for text in (done.out, done.err))


def test_the_hub_never_sees_the_token_of_github(
    server: GitHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from hub_server import hub

    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    with hub({"datasets/a/rows": {"rows.json": b"[]"}}) as other:
        for name, value in other.env(tmp_path, "hf_own").items():
            monkeypatch.setenv(name, value)
        other.tokens.add("hf_own")
        server.tokens.add(TOKEN)
        assert virc("download", "datasets/a/rows").code == 0
        assert virc("download", f"{AT}/data/rows.json").code == 0
        assert all(TOKEN not in str(r.headers) for r in other.requests)
    assert all("hf_own" not in str(r.headers) for r in server.requests)


@pytest.mark.parametrize(
    ("address", "code", "sentence"),
    [
        (f"{AT}/data/row.json", 5, f"https://github.com/o/n has no file data/row.json at {COMMIT[:12]}"),
        (f"{AT}/data", 5, "data of https://github.com/o/n is a folder, a link or"),
        (f"{AT}/../../secret", 5, "refused '../../secret': its name leads out of the folder"),
        (f"{AT}/%2e%2e/secret", 5, "refused '../secret': its name leads out of the folder"),
        (f"{AT}//etc/passwd", 5, "refused '/etc/passwd': its name is absolute"),
        (f"{AT}/.git/config", 5, "refused '.git/config': virc or git itself uses that name"),
        ("github.com/o/none/blob/main/a", 3, "there is no github.com/o/none with the commit, branch or file 'main'"),
        ("raw.githubusercontent.com/o/n", 3, "nothing to download is called 'raw.githubusercontent.com/o/n'"),
    ],
)  # fmt: skip
def test_what_is_not_there_or_would_do_harm_is_one_sentence(
    address: str, code: int, sentence: str, server: GitHub
) -> None:
    done = virc("download", address, "--json")
    assert done.code == code, done.err
    assert error_of(done)[0].startswith(sentence)
    assert not Path("data").exists()


def test_a_file_beyond_what_github_lists_is_one_sentence(server: GitHub) -> None:
    server.most = 1
    done = virc("download", f"{AT}/x/y/z.txt", "--json")
    assert (done.code, error_of(done)[0]) == (
        5,
        "https://github.com/o/n has more files than GitHub lists, and x/y/z.txt is not listed",
    )


@pytest.mark.parametrize(
    "fault",
    [
        body(b"<html>"),
        body(b"{}"),
        body(b'{"tree": [{"path": "large.bin", "mode": "100644", "sha": "../x", "size": 1}]}'),
        body(b'{"tree": [{"path": "large.bin", "mode": "100644", "sha": "%s", "size": -1}]}' % (b"0" * 40)),
        moved("file:///etc/passwd"),
        moved("//[half"),
    ],
)
def test_an_answer_that_makes_no_sense_is_one_sentence(fault: Fault, server: GitHub) -> None:
    server.misbehave(fault, on="api", times=None)
    done = virc("download", f"{AT}/large.bin", "--json")
    assert done.code == 6, done.err
    assert "Traceback" not in done.err
    assert not Path("data").exists()
