"""The output file of a batch: nothing in it is lost, done twice, or anybody else's."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.disk_steps import first, recorded
from support.solving import ROOT

from virc.core.errors import ConfigError, DataError, VircError
from virc.core.result_log import Claims, Ledger

SCHEMA = "virc.solve/1"

linux = pytest.mark.skipif(sys.platform != "linux", reason="names of descriptors are those of Linux")


def ledger(path: Path, **made_with: object) -> Ledger:
    return Ledger(path, SCHEMA, {"model": "m", "protocol": "own", "seed": 0, **made_with}, {8})


def line(id: str | int, row: str = "r", code: int | None = None, **fields: Any) -> bytes:
    return msgspec.json.encode(
        {
            "schema": SCHEMA,
            "id": id,
            "row": row,
            "answer": None if code else "97",
            "model": "m",
            "protocol": "own",
            "settings": {"seed": 0},
            "error": code and {"code": code, "kind": "x", "message": "m", "hint": None},
            **fields,
        }
    )


def written(path: Path, *lines: bytes) -> None:
    with ledger(path) as out:
        for each in lines:
            out.append(each)


def test_a_torn_last_line_is_cut_wherever_it_was_torn(tmp_path: Path) -> None:
    path = tmp_path / "out"
    first, second = line("a", text="∠"), line("b", text="é")
    whole = first + b"\n" + second + b"\n"
    for length in sorted({*range(0, len(whole), 11), *range(len(first) - 2, len(first) + 4), len(whole) - 1}):
        path.write_bytes(whole[:length])
        with ledger(path) as out:
            assert out.claim("a", "r") == (length <= len(first))
            assert out.claim("b", "r")
            out.append(second)
        assert path.read_bytes() == (b"" if length <= len(first) else first + b"\n") + second + b"\n"


def test_failed_rows_are_dropped_and_no_answers_kept(tmp_path: Path) -> None:
    path = tmp_path / "out"
    written(path, line("a"), line("b", code=6), line("c", code=8), line("d", code=5), line("e"))
    with ledger(path) as out:
        assert [out.claim(id, "r") for id in "abcde"] == [False, True, False, True, False]
    assert path.read_bytes().splitlines() == [line("a"), line("c", code=8), line("e")]


def test_a_file_of_something_else_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for content in (
        b"my thesis",
        b'{"a": 1}\n',
        line("a") + b"\nnot json\n",
        line("a", model="x").replace(b'"x"', b'"\xe9"') + b"\n",
        b'{"settings": ' + b'{"a": ' * 5000 + b"\n",
        b"\x00\x00",
        line("a", schema="x/1") + b"\n",
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="not the output of a batch") as refused, ledger(path):
            pass
        for part, said in ((b"not json", "line 2: "), (b"x/1", "line 1 is of schema 'x/1'")):
            assert part not in content or said in refused.value.message
        assert path.read_bytes() == content


@pytest.mark.parametrize(("key", "value"), [("model", "other"), ("protocol", "trained"), ("seed", 1)])
def test_answers_made_otherwise_are_not_mixed_in(key: str, value: object, tmp_path: Path) -> None:
    written(tmp_path / "out", line("a"))
    made = {"model": "m", "protocol": "own", "seed": 0}[key]
    said = f"/out holds answers made with {key} {made}, not {value}$"
    with pytest.raises(ConfigError, match=said) as refused, ledger(tmp_path / "out", **{key: value}):
        pass
    assert refused.value.hint == "use another --to, or the same settings"
    (tmp_path / "out").write_bytes(line("a", settings=None) + b"\n")
    with pytest.raises(ConfigError, match=r"made with seed None, not \d$"), ledger(tmp_path / "out", seed=1):
        pass


def test_a_row_that_changed_since_is_an_error_and_its_answer_stays(tmp_path: Path) -> None:
    path = tmp_path / "out"
    written(path, line("a"))
    with ledger(path) as out:
        assert (out.before("a"), out.before("b")) == ("r", None)
        with pytest.raises(DataError, match="the row 'a' has changed since it was answered") as refused:
            out.claim("a", "other")
    assert refused.value.hint == f"take its line out of {path}, or use another --to"
    claims = Claims()
    claims.answered("a", "r")
    with pytest.raises(DataError) as refused:
        claims.claim("a", "other")
    assert refused.value.hint == "take its line out of the output, or use another --to"
    assert path.read_bytes() == line("a") + b"\n"


@pytest.mark.integration
def test_two_runs_never_write_one_file(tmp_path: Path, environment: dict[str, str]) -> None:
    path = tmp_path / "out"
    hold = (
        "import sys, pathlib; from virc.core.result_log import Ledger\n"
        f"with Ledger(pathlib.Path({str(path)!r}), {SCHEMA!r}, {{}}, {{8}}):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=ROOT
    )
    assert process.stdout
    assert process.stdout.readline() == b"held\n"
    (tmp_path / "link").symlink_to(path)
    for name in ("out", "link"):
        with pytest.raises(ConfigError, match="another run is writing"), ledger(tmp_path / name):
            pass
    process.kill()
    process.communicate()
    with ledger(path) as out:
        assert out.claim("a", "r")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
def test_a_disk_that_is_full_is_one_sentence_and_leaves_whole_lines_and_no_lock(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "full" / "out"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def overfill() -> None:
        with ledger(path) as out:
            out.append(line("a"))
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, before[1]))
            out.append(line("b"))

    try:
        with pytest.raises(VircError, match="cannot write"):
            overfill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == line("a") + b"\n"
    assert [each.name for each in path.parent.iterdir()] == ["out"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_who_may_read_the_file_does_not_change_when_failed_rows_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "out"
    written(path, line("a"), line("b", code=6))
    path.chmod(0o600)
    written(path)
    assert path.read_bytes() == line("a") + b"\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "out")
    written(tmp_path / "link", line("a"), line("b", code=6))
    written(tmp_path / "link", line("b"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "out").read_bytes().splitlines() == [line("a"), line("b")]


@linux
def test_a_line_is_safe_on_the_disk_when_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.jsonl"
    steps = recorded(monkeypatch)
    with ledger(path) as out:
        for id in ("a", "b"):
            out.append(line(id))
            assert (steps[-1].what, steps[-1].path, steps[-1].content) == ("fsync", path, path.read_bytes())


@linux
def test_answers_are_safe_on_the_disk_before_they_replace_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.jsonl"
    written(path, line("a"), line("b", code=6))
    steps = recorded(monkeypatch)
    with ledger(path):
        pass
    safe = first(steps, "fsync", tmp_path / ".out.jsonl.new")
    assert (steps[safe].content, safe < first(steps, "rename", path)) == (line("a") + b"\n", True)
