"""Files of GitHub, against a server that answers as docs.github.com describes it."""

import json
import random
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from downloads import held, packed
from github_server import GitHub, Project, github
from hub_server import Fault, Reply, becomes, body, drop, ignore_range, moved, status, wrong
from support.called import Done, virc

from virc.core.errors import DataError
from virc.download.hub import fetching, ranged
from virc.download.hub import github as of_github
from virc.download.hub.repository import Repo
from virc.systems import registry as systems

LARGE = random.Random(1).randbytes(2 << 20)
ROWS = json.dumps([{"messages": [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]}])
FILES = {"data/rows.json": ROWS.encode(), "data/a b#c.json": b"[]", "large.bin": LARGE, "x/y/z.txt": b"deep"}
STORED = random.Random(2).randbytes(1 << 20)
RELEASED = {"rows.json": b"[2]", "images.tar": packed({"images/1.png": b"png"}), "weights.bin": LARGE}
TOKEN = "ghp_secret"
PROJECTS = {
    "o/n": Project(FILES, {"stored.bin": STORED}, {"link.json": "data/rows.json"}, {"v1.0": RELEASED}),
    "o/closed": Project({"rows.json": b"[]"}, members=[TOKEN]),
}
COMMIT = PROJECTS["o/n"].commit
AT = f"https://github.com/o/n/blob/{COMMIT}"
RELEASE = "https://github.com/o/n/releases/download/v1.0"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[GitHub]:
    monkeypatch.setattr(fetching, "LARGE", 1 << 19)
    monkeypatch.setattr(ranged, "PART", 1 << 17)
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
        (f"{AT.replace('blob', 'raw')}/large.bin", "large.bin"),
        (f"{AT.removeprefix('https://')}/data/a%20b%23c.json?raw=true#L1", "data/a b#c.json"),
        ("https://www.github.com/o/n/blob/main/x/y/z.txt", "x/y/z.txt"),
        ("https://github.com/o/n/raw/refs/heads/main/x/y/z.txt", "x/y/z.txt"),
        (f"https://raw.githubusercontent.com/o/n/{COMMIT}/data/rows.json?token=a", "data/rows.json"),
        ("https://raw.githubusercontent.com/o/n/refs/heads/main/x/y/z.txt", "x/y/z.txt"),
    ],
)
def test_a_file_at_a_commit_keeps_its_path(address: str, path: str, server: GitHub) -> None:
    done = virc("download", address)
    assert (done.code, done.out) == (0, "data/n\n"), done.err
    assert held(Path("data/n")) == {path: FILES[path]}
    record = json.loads(Path("data/n/.virc-download/record.json").read_text())
    assert (record["host"], record["repo"], record["commit"]) == ("github", "o/n", COMMIT)


def test_two_files_of_a_commit_come_into_one_folder(server: GitHub) -> None:
    assert virc("download", f"{AT}/data/rows.json", f"{AT}/large.bin").code == 0
    assert virc("download", f"{AT}/x/y/z.txt").code == 0
    assert held(Path("data/n")) == {name: FILES[name] for name in ("data/rows.json", "large.bin", "x/y/z.txt")}


def test_what_is_there_is_not_fetched_again(server: GitHub) -> None:
    virc("download", f"{AT}/large.bin")
    sent = server.sent()
    done = virc("download", f"{AT}/large.bin")
    assert (done.code, server.sent()) == (0, sent)
    assert "nothing is missing" in done.err


def test_a_dry_run_fetches_nothing(server: GitHub) -> None:
    done = virc("download", f"{AT}/large.bin", f"{RELEASE}/rows.json", "--dry-run", "--to", "new")
    assert done.code == 2, "--to is for one thing"
    (item,) = virc("download", f"{AT}/large.bin", "--dry-run", "--json").json["items"]
    assert (item["repo"], item["bytes"], item["state"]) == ("github.com/o/n", len(LARGE), "missing")
    assert [(file["name"], file["verified_by"]) for file in item["files"]] == [("large.bin", "git")]
    assert "github.com/o/n" in virc("download", f"{AT}/large.bin", "--dry-run").out
    assert not Path("data").exists()
    assert not server.sent("*/large.bin")


def test_files_of_a_release_come_with_their_sha256(server: GitHub) -> None:
    done = virc("download", f"{RELEASE}/weights.bin", f"{RELEASE}/images.tar", "--json")
    assert done.code == 0, done.err
    (item,) = done.json["items"]
    assert {file["verified_by"] for file in item["files"]} == {"sha256"}
    assert held(Path("data/n")) == {"weights.bin": LARGE, "images/1.png": b"png"}
    assert len(server.asked("storage")) > 1, "it came in one piece"


def test_a_release_without_hashes_is_said_to_be_unproven(server: GitHub) -> None:
    server.digests = False
    done = virc("download", f"{RELEASE}/rows.json")
    assert done.code == 0
    assert "rows.json: no hash is listed for it; its size alone is checked" in done.err
    assert "no hash" not in virc("download", f"{AT}/data/rows.json", "--to", "other").err


def test_a_file_of_a_release_that_is_still_uploaded_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asset = {"id": 1, "name": "rows.json", "size": 7}
    for state, is_there in (("uploaded", True), ("starter", False)):
        content = json.dumps({"assets": [asset | {"state": state}]}).encode()
        monkeypatch.setattr(of_github, "linked_answer", lambda *_, content=content: (content, ""))
        with nullcontext() if is_there else pytest.raises(DataError, match=r"has no file rows\.json"):
            listing = of_github.listing(Repo("o/n", "dataset", "release"), "v1", ("rows.json",))
            assert [(file.name, file.size) for file in listing.files] == [("rows.json", 7)]


def test_ls_and_rm_know_them(server: GitHub) -> None:
    virc("download", f"{RELEASE}/rows.json", "--to", "data/released")
    virc("download", f"{AT}/data/rows.json")
    listed = {each["name"]: each for each in virc("download", "ls", "--json").json["downloads"]}
    assert {name: (each["repo"], each["commit"]) for name, each in listed.items()} == {
        "released": ("github.com/o/n", "v1.0"),
        "n": ("github.com/o/n", COMMIT),
    }
    table = virc("download", "ls").out
    assert "v1.0" in table
    assert COMMIT[:7] in table
    done = virc("download", "rm", "github.com/o/n", "--yes")
    assert "several are called" in done.err
    assert virc("download", "rm", "n", "--yes").code == 0
    assert not Path("data/n").exists()


def test_what_git_lfs_stores_is_followed(server: GitHub) -> None:
    (item,) = virc("download", f"{AT}/stored.bin", "--dry-run", "--json").json["items"]
    assert (item["bytes"], item["files"][0]["verified_by"]) == (len(STORED), "sha256")
    assert virc("download", f"{AT}/stored.bin").code == 0
    assert held(Path("data/n")) == {"stored.bin": STORED}


@pytest.mark.parametrize("fault", [drop(700_000), drop(700_000, reset=True), ignore_range, status(503)])
@pytest.mark.parametrize(("address", "on"), [(f"{AT}/large.bin", "raw"), (f"{RELEASE}/weights.bin", "storage")])
def test_an_interruption_is_got_over(fault: Fault, address: str, on: str, server: GitHub) -> None:
    server.misbehave(fault, on=on, times=2)
    assert virc("download", address).code == 0
    assert next(iter(held(Path("data/n")).values())) == LARGE


def test_a_second_call_goes_on_inside_the_file(server: GitHub) -> None:
    server.misbehave(drop(300_000), on="raw", skip=1, times=None)
    server.misbehave(drop(0), on="raw", skip=4, times=None)
    assert virc("download", f"{AT}/large.bin").code == 6
    server.behave()
    sent = server.sent("*/large.bin")
    done = virc("download", f"{AT}/large.bin")
    assert done.code == 0, done.err
    assert held(Path("data/n")) == {"large.bin": LARGE}
    assert server.sent("*/large.bin") - sent < len(LARGE)


@pytest.mark.parametrize(
    ("address", "on"),
    [
        (f"{AT}/large.bin", "raw"),
        (f"{AT}/x/y/z.txt", "raw"),
        (f"{AT}/stored.bin", "media"),
        (f"{RELEASE}/rows.json", "storage"),
    ],
)
def test_another_content_is_refused(address: str, on: str, server: GitHub) -> None:
    server.misbehave(wrong(1), on=on, times=None)
    done = virc("download", address, "--json")
    assert done.code == 6
    assert " with " in error_of(done)[0]
    assert not (Path("data/n").exists() and held(Path("data/n")))


def test_another_file_of_the_same_name_is_not_taken_for_it(server: GitHub) -> None:
    server.misbehave(becomes(b"shal"), on="raw", times=None)
    assert virc("download", f"{AT}/x/y/z.txt").code == 6


def test_the_token_goes_to_github_alone(server: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = f"github.com/o/closed/blob/{PROJECTS['o/closed'].commit}/rows.json"
    done = virc("download", closed, "--json")
    assert done.code == 3
    assert "or it is private" in error_of(done)[0]
    assert "GITHUB_TOKEN" in (error_of(done)[1] or "")
    server.tokens.add(TOKEN)
    monkeypatch.setenv("GITHUB_TOKEN", f"{TOKEN}\r\n")  # as a file of it ends
    assert virc("download", closed).code == 0
    assert virc("download", f"{RELEASE}/weights.bin").code == 0
    told = {(r.on, r.headers.get("authorization")) for r in server.requests[1:]}
    assert told == {("api", f"Bearer {TOKEN}"), ("raw", f"Bearer {TOKEN}"), ("storage", None)}
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


def test_a_token_that_github_refuses_is_named(server: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_old")
    done = virc("download", f"{AT}/large.bin", "--json")
    assert (done.code, error_of(done)) == (3, ("GitHub refuses the token", "mend or unset GITHUB_TOKEN"))


@pytest.mark.parametrize("token", ["ghp_ä", "ghp_a\nghp_b", "“ghp_a”"])
def test_a_token_that_no_header_takes_is_named(token: str, server: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", token)
    done = virc("download", f"{AT}/large.bin", "--json")
    wrong = "GITHUB_TOKEN holds characters that are in no token"
    assert (done.code, error_of(done)) == (3, (wrong, "mend or unset GITHUB_TOKEN"))
    assert not server.requests


def test_the_limit_of_requests_is_told_with_its_end(server: GitHub) -> None:
    def used_up(reply: Reply) -> None:
        status(403)(reply)
        reply.headers |= {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 1800)}

    server.misbehave(used_up, on="api", times=None)
    done = virc("download", f"{AT}/large.bin", "--json")
    assert (done.code, error_of(done)[0]) == (6, "GitHub answers no more requests for the next 30 minutes")
    assert "GITHUB_TOKEN" in (error_of(done)[1] or "")
    assert len(server.requests) == 1


def test_a_large_repository_is_walked_by_folders(server: GitHub) -> None:
    server.most = 1
    assert virc("download", f"{AT}/x/y/z.txt").code == 0
    assert held(Path("data/n")) == {"x/y/z.txt": b"deep"}
    done = virc("download", f"{AT}/x/y/none.txt", "--json")
    assert "has no file x/y/none.txt" in error_of(done)[0]


@pytest.mark.parametrize(
    ("address", "code", "sentence"),
    [
        (f"{AT}/data/row.json", 5, f"https://github.com/o/n has no file data/row.json at {COMMIT[:12]}"),
        (f"{AT}/data", 5, "data of https://github.com/o/n is a folder, a link or"),
        (f"{AT}/link.json", 5, "link.json of https://github.com/o/n is a folder, a link or"),
        (f"{AT}/../../secret", 5, "refused '../../secret': its name leads out of the folder"),
        (f"{AT}/%2e%2e/secret", 5, "refused '../secret': its name leads out of the folder"),
        (f"{AT}//etc/passwd", 5, "refused '/etc/passwd': its name is absolute"),
        (f"{AT}/.git/config", 5, "refused '.git/config': virc or git itself uses that name"),
        (f"{RELEASE}/none.tar", 5, "the release v1.0 of https://github.com/o/n has no file none.tar"),
        (f"{RELEASE}/..%2Fx", 5, "refused '../x': its name leads out of the folder"),
        (RELEASE.replace("v1.0", "v2") + "/a", 3, "there is no github.com/o/n with the release 'v2', or it is private"),
        ("github.com/o/none/blob/main/a", 3, "there is no github.com/o/none with the commit, branch or file 'main'"),
        ("raw.githubusercontent.com/o/n", 3, "nothing to download is called 'raw.githubusercontent.com/o/n'"),
        ("github.com/o/n", 3, "nothing to download is called 'github.com/o/n'"),
        ("github.com/o/n/tree/main/data", 3, "nothing to download is called 'github.com/o/n/tree/main/data'"),
    ],
)  # fmt: skip
def test_what_is_not_there_or_would_do_harm_is_one_sentence(
    address: str, code: int, sentence: str, server: GitHub
) -> None:
    done = virc("download", address, "--json")
    assert done.code == code, done.err
    assert error_of(done)[0].startswith(sentence)
    assert not Path("data").exists()


def test_a_near_path_is_named(server: GitHub) -> None:
    assert error_of(virc("download", f"{AT}/rows.json", "--json"))[1] == "did you mean 'data/rows.json'?"
    hint = error_of(virc("download", "github.com/o/n", "--json"))[1]
    assert hint == "of GitHub: github.com/OWNER/NAME/blob/COMMIT/PATH, its raw link, or .../releases/download/TAG/FILE"


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


def test_other_options_of_the_hub_are_refused(server: GitHub) -> None:
    done = virc("download", f"{AT}/large.bin", "--revision", "main", "--json")
    assert (done.code, error_of(done)[0]) == (
        2,
        "--revision is for the hub: an address of GitHub names its commit or tag",
    )
    other = f"github.com/o/n/blob/{'0' * 40}/x"
    done = virc("download", f"{AT}/large.bin", other, "--json")
    assert done.code == 2
    assert "would both come into" in error_of(done)[0]


SYSTEM = """name: s
tools: none
datasets:
  rows: {{github: o/n, revision: {commit}, files: [data/rows.json, large.bin]}}
stages:
  sft: {{kind: sft, settings: {{base: o/m, data: rows/data/rows, learning_rate: 1e-5}}}}
"""


def test_a_system_names_files_of_github(server: GitHub) -> None:
    file = Path("s.yaml")
    file.write_text(SYSTEM.format(commit=COMMIT))
    assert virc("download", "dataset", "--system", "s.yaml").code == 0
    assert held(Path("data/rows")) == {"data/rows.json": FILES["data/rows.json"]}, "the stage needs one of them"
    planned = virc("train", "s.yaml", "--stage", "sft", "--from", "tiny", "--dry-run")
    assert "1 rows, 0 images" in planned.err, "the stage has found them"
    assert virc("download", "rows", "--system", "s.yaml").code == 0
    assert set(held(Path("data/rows"))) == {"data/rows.json", "large.bin"}


def test_a_stage_names_the_command_that_brings_its_rows(server: GitHub) -> None:
    Path("s.yaml").write_text(SYSTEM.format(commit=COMMIT))
    done = virc("train", "s.yaml", "--stage", "sft", "--from", "tiny", "--dry-run")
    assert f"virc download dataset --system {Path('s.yaml').absolute()}" in done.err


@pytest.mark.parametrize(
    ("dataset", "sentence"),
    [
        ("{}", "a dataset names one repository: hub, or github"),
        ("{hub: a/b, github: a/b}", "a dataset names one repository: hub, or github"),
        ("{github: a/b}", "a repository of GitHub needs revision, a commit, and files"),
        ("{hub: a/b, files: [x]}", "revision and files belong to github alone"),
        ("{github: a/b, revision: main, files: [x]}", "datasets.rows.revision must be a commit, 40 hexadecimal digits"),
    ],
)
def test_a_dataset_names_one_repository_and_all_of_it(dataset: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(f"name: s\ndatasets: {{rows: {dataset}}}\n")
    assert sentence in virc("systems", "check", str(file)).out


def test_virgos_rows_in_text_are_of_github(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    path = "data/numina_llava_special_prompt_5k.json"
    project = Project({path: b"[]"})
    dataset = systems.get("virgo").datasets["virgo"]
    assert (dataset.github, dataset.files) == ("RUCAIBox/Virgo", (path,))
    with github(monkeypatch, {"RUCAIBox/Virgo": project}):
        monkeypatch.setattr(Project, "commit", dataset.revision)
        assert virc("download", "virgo", "--system", "virgo").code == 0
    assert held(Path("data/virgo")) == {path: b"[]"}


def test_names_of_branches_and_of_stored_files_are_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    tree = json.dumps({"tree": [{"path": "a #1.bin", "mode": "100644", "sha": "0" * 40, "size": 99}]}).encode()

    def answer(_repo: Repo, _revision: str, url: str, _headers: object) -> tuple[bytes, str]:
        asked.append(url)
        return (b"1" * 40 if "/commits/" in url else tree, "")

    monkeypatch.setattr(of_github, "linked_answer", answer)
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 7\n"
    monkeypatch.setattr(of_github, "small_file", lambda *_: pointer)
    (found,) = of_github.listing(Repo("some/data", "dataset", "github"), "next/2", ["a #1.bin"]).files
    assert asked[0].endswith("/commits/next%2F2")
    assert (found.size, str(found.url).rpartition("/")[2]) == (7, "a%20%231.bin")
