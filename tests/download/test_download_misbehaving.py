"""`virc download` against a hub that misbehaves: what it says, what it leaves on the disk, and that it goes on."""

import os
import random
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from downloads import CONFIG, held, packed, serving, start, weights
from hub_server import (
    Fault,
    Hub,
    Reply,
    Repo,
    becomes,
    body,
    drop,
    etag,
    hang,
    hub,
    ignore_range,
    moved,
    short,
    slow,
    status,
    wrong,
)
from support.called import Done, virc
from support.servers import dead_url

from virc.download.hub import content

MODEL, DATASET, GATED, PRIVATE = "some/model", "datasets/some/rows", "some/gated", "some/private"
FOLDER, ROWS = Path("models/model"), Path("data/rows")
MEMBER, STRANGER = "hf_member", "hf_stranger"
WEIGHTS, HALF = weights(3 << 19), 3 << 18
FILES = {
    "README.md": b"a model\n",
    "tokenizer.json": weights(50_000, 1),
    "model.safetensors": WEIGHTS,
    "config.json": CONFIG,
}
IMAGES = {f"images/{number}.png": weights(200_000, number) for number in range(8)}


PACKED = packed(IMAGES)
REPOS = {
    MODEL: Repo(FILES),
    DATASET: Repo({"rows.jsonl": b"{}\n", "images.tar": PACKED}),
    GATED: Repo(FILES, gated=True, members=[MEMBER]),
    PRIVATE: Repo(FILES, private=True, members=[MEMBER]),
}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(monkeypatch, tmp_path, dict(REPOS)) as made:
        made.tokens.add(STRANGER)
        yield made


def fails(code: int, said: str, *words: str, folder: Path = FOLDER) -> str:
    """Run a download that fails: one sentence and nothing half-written. Returns the hint."""
    done = virc("download", *(words or [MODEL]))
    assert (done.code, done.out) == (code, ""), done.err
    (error,) = re.findall(r"^error: (.*)\n", done.err, re.MULTILINE)
    assert said in error
    assert "Traceback" not in done.err
    assert "huggingface_hub" not in done.err
    assert len(done.err.splitlines()) < 12
    whole = FILES | IMAGES | {"rows.jsonl": b"{}\n", "images.tar": PACKED}
    there = held(folder) if folder.exists() else {}
    assert all(whole[name] == content for name, content in there.items())
    assert "config.json" not in there, "it looks like a model"
    return next(iter(re.findall(r"^hint: (.*)\n", done.err, re.MULTILINE)), "")


def goes_on(*words: str, folder: Path = FOLDER) -> Done:
    """Run the same again, after the hub is mended."""
    done = virc("download", *(words or [MODEL]))
    assert (done.code, done.out) == (0, f"{folder}\n"), done.err
    assert held(folder) == FILES
    assert [path.name for path in (folder / ".virc-download").iterdir()] == ["record.json"]
    return done


def no_token_left_the_hub(server: Hub) -> bool:
    away = server.asked("storage")
    return bool(away) and not any("authorization" in request.headers for request in away)


def another_range(reply: Reply) -> None:
    reply.headers["Content-Range"] = f"bytes 7-{len(WEIGHTS) - 1}/{len(WEIGHTS)}"


def weak(reply: Reply) -> None:
    reply.etag = f"W/{reply.etag}"  # as a proxy makes it


def endless(code: int) -> Fault:
    """Send a terabyte."""

    def change(reply: Reply) -> None:
        content = Path("endless").absolute()
        content.touch()
        os.truncate(content, 2**40)
        reply.code, reply.content, reply.ranges, reply.headers = code, content, False, {}

    return change


# What passes.

PASSING: dict[str, tuple[Fault, int | None]] = {
    "drops": (drop(100_000), 5),
    "resets": (drop(100_000, reset=True), 5),
    "drops before a byte came": (drop(0), 3),
    "ignores Range": (ignore_range, None),
    "ends early": (short(1000), 3),
    "changes midway": (becomes(weights(3 << 19, 7)), 1),
    "another ETag midway": (etag('"other"'), 1),
    "weak ETag": (weak, None),
    "another range": (another_range, 2),
    "is busy": (status(503), 3),
    "asks to wait": (status(429, retry_after="0"), 3),
    "fails": (status(500), 3),
    "expired": (status(403), 2),
}


@pytest.mark.integration
@pytest.mark.parametrize(("fault", "times"), PASSING.values(), ids=PASSING)
def test_what_passes_costs_no_second_command(
    server: Hub, monkeypatch: pytest.MonkeyPatch, fault: Fault, times: int | None
) -> None:
    monkeypatch.setenv("HF_TOKEN", MEMBER)
    server.misbehave(fault, name="model.safetensors", times=times, skip=0 if times is None else 2)
    done = goes_on(PRIVATE, folder=Path("models/private"))
    assert re.findall(r"^(?:error|warning).*", done.err, re.MULTILINE) == []
    assert no_token_left_the_hub(server)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("on", "fault"),
    [
        *((on, fault) for on in ("api", "resolve") for fault in (status(429), status(503, retry_after="0"), drop(0))),
        *(("cache", fault) for fault in (wrong(5), short(5), status(500), drop(0, reset=True))),
    ],
)
def test_the_hub_itself_fails_now_and_then(server: Hub, on: str, fault: Fault) -> None:
    server.misbehave(fault, on=on, times=1 if on == "cache" else 2)
    done = goes_on()
    assert re.findall(r"^(?:error|warning).*", done.err, re.MULTILINE) == []


# What stays.


def changes(reply: Reply) -> None:
    reply.etag = f'"{random.random()}"'
    drop(100_000)(reply)


LASTING: dict[str, tuple[Fault, str, str, int, str, str]] = {
    "drops": (drop(10), "storage", "model*", 6, "cannot fetch model.safetensors from localhost", "resume"),
    "resets": (drop(10, reset=True), "storage", "model*", 6, "cannot fetch model.safetensors", "resume"),
    "fails": (status(500), "storage", "model*", 6, "where model.safetensors is stored, answers 500", "resume"),
    "forbids": (status(403), "storage", "model*", 6, "is stored, answers 403", "resume"),
    "asks for a login": (status(401), "storage", "model*", 3, "is redirected to localhost", "unset HF_ENDPOINT"),
    "wrong bytes": (wrong(700_000), "storage", "model*", 6, "model.safetensors came with SHA-256", ""),
    "changes": (changes, "storage", "model*", 6, "model.safetensors changed on the server", "resume"),
    "another range": (another_range, "storage", "model*", 6, "another range", ""),
    "another size": (becomes(b"x" * 100), "storage", "model*", 6, "model.safetensors", ""),
    "hub forbids": (status(403, "no"), "resolve", "model*", 3, "forbids to read some/model: no", "hf auth login"),
    "file is away": (
        status(404, error="EntryNotFound"), "resolve", "model*", 3, "some/model has no such file", "/tree/main",
    ),
    "hub is busy": (status(429), "resolve", "model*", 6, "answers 429: too many requests", "wait"),
    "hub asks for hours": (status(429, retry_after="9999"), "resolve", "model*", 6, "429", "167 minutes"),
    "hub fails": (status(500), "resolve", "model*", 6, "answers 500: scripted", "resume"),
    "hub sends a page": (body(b"<html>", "text/html"), "resolve", "model*", 6, "model.safetensors", ""),
    "loop": (moved("/a/loop/resolve/main/model.safetensors"), "resolve", "model*", 6, "redirected too often", ""),
    "to a file": (moved("file:///etc/passwd"), "resolve", "model*", 6, "refused", ""),
    "small: wrong": (wrong(5), "cache", "README.md", 6, "README.md came with git id", "try again"),
    "small: fails": (status(500), "cache", "README.md", 6, "answers 500", "resume"),
    "small: forbids": (status(403, "no"), "cache", "README.md", 3, "forbids to read some/model", "hf auth"),
    "small: stored wrong": (wrong(5), "cache", "tokenizer.json", 6, "tokenizer.json came with git id", "try again"),
    "small: without end": (endless(200), "cache", "README.md", 6, f"has {2**40} bytes on the server, not 8", ""),
    "an error without end": (endless(500), "cache", "README.md", 6, "answers 500", ""),
    "a listing without end": (endless(200), "tree", "*", 5, "over 32 MiB", ""),
    "listing fails": (status(500), "api", "*", 6, "answers 500: scripted", "resume"),
    "listing is busy": (status(429), "api", "*", 6, "answers 429: too many requests", "hf auth login"),
    "listing drops": (drop(5), "api", "*", 6, "cannot reach 127.0.0.1", "HF_ENDPOINT"),
    "listing is a page": (body(b"<html>"), "api", "*", 6, "not a listing of some/model", ""),
    "listing is another": (body(b'{"sha": 1}'), "api", "*", 5, "the listing of some/model makes no sense", ""),
    "token": (
        status(401, "Invalid credentials in Authorization header"), "api", "*", 3, "refuses the token", "HF_TOKEN",
    ),
}  # fmt: skip


@pytest.mark.integration
@pytest.mark.parametrize(("fault", "on", "name", "code", "said", "hint"), LASTING.values(), ids=LASTING)
def test_what_stays_is_one_sentence_and_the_next_command_goes_on(
    server: Hub, fault: Fault, on: str, name: str, code: int, said: str, hint: str
) -> None:
    server.misbehave(fault, on=on, name=name, times=None)
    assert hint in fails(code, said)
    assert all(request.sent < 64 << 20 for request in server.requests)  # what sockets hold is sent too
    server.behave()
    before = len(server.asked())  # by requests: what was under way then is counted later
    goes_on()
    sent = sum(request.sent for request in server.asked()[before:] if request.on not in ("api", "tree"))
    assert sent <= sum(map(len, FILES.values())) + len(FILES["config.json"])  # which is looked at before


@pytest.mark.integration
def test_what_came_before_the_end_is_not_fetched_again(server: Hub) -> None:
    server.misbehave(drop(HALF), name="model*")
    server.misbehave(drop(10), name="model*", times=None, skip=1)
    fails(6, "cannot fetch model.safetensors")
    assert sorted(held(FOLDER)) == ["README.md", "tokenizer.json"]
    server.behave()
    before = server.sent()
    (item,) = virc("download", MODEL, "--dry-run", "--json").json["items"]
    assert item["state"] == "partly"
    assert item["missing"] <= len(WEIGHTS) - HALF + len(CONFIG)
    goes_on()
    assert server.sent() - before == item["missing"]


@pytest.mark.integration
def test_a_hub_that_dies_midway(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.misbehave(slow(1 << 20), name="model*", times=None)

    def kill() -> None:
        server.until(lambda: server.sent("model*") > HALF)
        server.die()

    threading.Thread(target=kill).start()
    fails(6, "cannot fetch model.safetensors")
    with hub(REPOS) as mended:
        monkeypatch.setenv("HF_ENDPOINT", mended.url)
        goes_on()
        assert mended.sent("model*") <= len(WEIGHTS)


@pytest.mark.integration
@pytest.mark.parametrize("on", ["storage", "resolve"])
def test_a_server_that_says_nothing(server: Hub, monkeypatch: pytest.MonkeyPatch, on: str) -> None:
    monkeypatch.setattr(content, "SECONDS", 0.05)
    server.misbehave(hang, on=on, name="model*", times=None)
    fails(6, "cannot fetch model.safetensors from")
    server.behave()
    goes_on()


# Who may read what, and where nobody is.


@pytest.mark.parametrize(
    ("words", "token", "said", "hint"),
    [
        (["no/such"], "", "the hub has no model no/such, or it is private", "hf auth login"),
        (["no/such"], STRANGER, "the hub has no model no/such, or it is private", "mend the name"),
        (["datasets/no/such"], "", "the hub has no dataset no/such, or it is private", "mend the name"),
        ([PRIVATE], "", "the hub has no model some/private, or it is private", "hf auth login"),
        ([PRIVATE], STRANGER, "the hub has no model some/private, or it is private", "may read it"),
        ([MODEL, "--revision", "v9"], "", "some/model has no revision 'v9'", "/some/model/commits/main"),
        ([MODEL], "hf_wrong", "refuses the token", "`hf auth login`, or mend HF_TOKEN"),
        ([GATED], "", "some/gated is gated: it is for users who are logged in", "accept its terms at "),
        ([GATED], STRANGER, "some/gated is gated, and your account is not on its list", "/some/gated with"),
    ],
)
def test_who_may_not_read_it_is_told_what_to_do(
    server: Hub, monkeypatch: pytest.MonkeyPatch, words: list[str], token: str, said: str, hint: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    assert hint in fails(3, said, *words)
    assert not [path for path in Path().glob("*/*") if path.parent.name in ("models", "data")]
    failed = virc("download", *words, "--json")
    assert (failed.code, failed.json["error"]["kind"], failed.json["error"]["code"]) == (3, "config", 3)
    assert not token or token not in failed.out + failed.err


def test_who_may_read_it_gets_it_and_the_token_stays_at_the_hub(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", MEMBER)
    goes_on(GATED, folder=Path("models/gated"))
    assert no_token_left_the_hub(server)


@pytest.mark.integration
@pytest.mark.parametrize("on", ["api", "resolve"])
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_hub_that_sends_everybody_elsewhere(server: Hub, monkeypatch: pytest.MonkeyPatch, on: str, code: int) -> None:
    monkeypatch.setenv("HF_TOKEN", MEMBER)
    for host in ("localhost", "127.0.0.1"):  # there the port alone is another
        place = server.storage_url.replace("localhost", host)
        server.behave()
        server.misbehave(moved(f"{place}/take/it", code), on=on, times=None)
        done = virc("download", PRIVATE if on == "api" else MODEL)
        assert done.code in (3, 6)
        assert MEMBER not in done.err
    assert no_token_left_the_hub(server)


def test_words_of_the_hub_drive_no_terminal(server: Hub) -> None:
    server.misbehave(status(403, "\x1b[2J\x1b]0;owned\x07 " + "x" * 5000), on="resolve", name="model*")
    done = virc("download", MODEL)
    assert (done.code, "\x1b" in done.err, "\x07" in done.err) == (3, False, False)
    assert max(map(len, done.err.splitlines())) < 500


@pytest.mark.integration
def test_a_proxy_that_is_away_is_named_without_its_password(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process of its own: the library's session keeps the proxies it began with."""
    address = urlsplit(dead_url()).netloc
    for name in ("no_proxy", "NO_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", f"http://somebody:secret@{address}")
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    out, err = (process := start(MODEL)).communicate(timeout=240)
    assert (process.returncode, out) == (6, b"")
    sentence, hint = err.decode().splitlines()
    assert re.fullmatch(rf"error: cannot reach hub.invalid by the proxy {address}: .*refused", sentence)
    assert hint == "hint: HTTP_PROXY names the proxy: mend or unset it"
