"""What is said of files and folders that a user names, and of keys in files; at the bounds of each."""

import errno
import os
from pathlib import Path

import pytest

from virc.core import credentials, files, locks
from virc.core.errors import ConfigError, UsageError, VircError


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("rows.jsonl", "rows.csv", "notes", "deep/more.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"0123456789")
    (tmp_path / "rows.d").mkdir()
    (tmp_path / "pictures.d").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("named", "name", "file"),
    [
        ("rowz.jsonl", "rows.jsonl", "rows.jsonl"),
        ("rows.jsonl", None, None),  # it is there
        ("pictures.dd", None, None),  # what is near is a folder
        ("zzzz.qq", None, None),
        ("rows", None, "rows.csv"),  # of two endings the first, and a folder is no file
        ("note", None, None),  # not by its ending
        ("gone/rows.csv", None, None),
        ("", None, None),
        ("rows\0.csv", "rows.csv", "rows.csv"),
    ],
)
def test_the_nearest_file_to_one_that_is_missing(folder: Path, named: str, name: str | None, file: str | None) -> None:
    assert files.near_name(folder / named) == (name and str(folder / name))
    assert files.near_file(folder / named) == (file and f"did you mean {str(folder / file)!r}?")


def test_a_folder_is_as_large_as_its_files_without_what_links_lead_to(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files.size_of(folder)
    (folder / "link").symlink_to(folder / "rows.csv")
    assert before == 4 * 10
    assert files.size_of(folder) == before + len(str(folder / "rows.csv"))  # the link itself
    assert files.size_of(folder / "gone") == 0
    monkeypatch.setattr(os, "walk", lambda place: [(str(place), [], ["vanished", "notes"])])
    assert files.size_of(folder) == 10


@pytest.mark.parametrize(
    ("start", "most", "text"),
    [(0, 3, "012"), (2, 3, "234"), (-3, 9, "789"), (-99, 2, "01"), (9, 9, "9"), (99, 9, ""), (-1, 0, "")],
)
def test_a_part_of_a_file_from_its_start_or_its_end(folder: Path, start: int, most: int, text: str) -> None:
    assert files.part(folder / "notes", start, most) == text
    (folder / "notes").write_bytes(b"\xff")
    assert files.part(folder / "notes", 0, 1) == "\ufffd"


@pytest.mark.parametrize(
    ("most", "size"), [(9, "0 KiB"), (2**10, "1 KiB"), (2**20 - 1, "1023 KiB"), (2**20, "1 MiB"), (3 * 2**20, "3 MiB")]
)
def test_a_file_that_is_too_large_is_named_with_the_limit(tmp_path: Path, most: int, size: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(most))
    assert len(files.contents(file, most)) == most
    file.write_bytes(bytes(most + 1))
    with pytest.raises(OSError, match="it is over") as raised:
        files.contents(file, most)
    assert (raised.value.errno, raised.value.strerror) == (errno.EFBIG, f"it is over {size}")
    assert raised.value.filename == str(file)


def test_a_file_is_written_into_folders_that_come_with_it_and_over_what_a_killed_run_left(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "file.json"
    files.write_json(file, {"x": [1]})
    file.with_name(".file.json.new").write_text("half")
    files.write_json(file, {"x": [2]})
    assert file.read_text() == '{\n  "x": [\n    2\n  ]\n}\n'
    assert names(file.parent) == ["file.json"]
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for bad in (tmp_path / "a\0", tmp_path / "loop"):
        with pytest.raises(OSError, match="no file can have that name"):
            files.write_whole(bad, b"")


@pytest.mark.parametrize("used", ["file", "folder"])
def test_a_place_that_is_in_use_stays_as_it_is(tmp_path: Path, used: str) -> None:
    to = tmp_path / "deep" / "model"
    (to if used == "folder" else to.parent).mkdir(parents=True)
    (to / "mine" if used == "folder" else to).write_text("mine")
    with pytest.raises(UsageError) as raised, files.fresh_folder(to):
        pytest.fail("it is given to fill")
    assert (raised.value.message, raised.value.hint) == (f"{to} is in use", "choose another folder with --to")
    assert (to / "mine" if used == "folder" else to).read_text() == "mine"
    assert names(to.parent) == ["model"]


def test_a_place_that_somebody_fills_meanwhile_is_in_use(tmp_path: Path) -> None:
    to = tmp_path / "deep" / "model"
    with pytest.raises(UsageError, match="is in use"), files.fresh_folder(to, "elsewhere"):
        (to / "theirs").mkdir(parents=True)
    assert names(to) == ["theirs"]
    assert names(to.parent) == ["model"]


@pytest.mark.parametrize(
    ("name", "why"), [("a\0b", "embedded null byte"), ("file/model", "file exists"), ("x" * 300, "file name too long")]
)
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(VircError, match="cannot make the folder") as raised, files.fresh_folder(tmp_path / name):
        pytest.fail("it is given to fill")
    assert raised.value.message == f"cannot make the folder {tmp_path / name}: {why}"


def test_an_error_of_the_disk_while_a_folder_is_filled_names_it(tmp_path: Path) -> None:
    for own in (None, "picture.png"):
        with pytest.raises(OSError, match="No space") as raised, files.fresh_folder(tmp_path / "model"):
            raise OSError(errno.ENOSPC, "No space left", own)
        assert raised.value.filename == (own or str(tmp_path / "model"))
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        (b"key\n", 0o600, None),
        (b"k" * 4096, 0o400, None),
        (b"k" * 4097, 0o600, "must hold one key on one line"),
        (b" \n", 0o600, "must hold one key on one line"),
        (b"one two", 0o600, "must hold one key on one line"),
        ("schlüssel".encode(), 0o600, "cannot be read"),
        (b"key", 0o640, "other users can read or change"),
        (b"key", 0o602, "other users can read or change"),
    ],
)
def test_a_file_holds_one_key_that_nobody_else_can_read(
    tmp_path: Path, text: bytes, mode: int, why: str | None
) -> None:
    file = tmp_path / "a key"
    file.write_bytes(text)
    file.chmod(mode)
    if why is None:
        assert credentials.key_of(f"file:{file}") == text.decode().strip()
        return
    with pytest.raises(ConfigError, match=why) as raised:
        credentials.key_of(f"file:{file}")
    assert str(file) in raised.value.message
    assert "key" not in raised.value.message.replace("--api-key", "").replace(str(file), "").replace("one key", "")
    assert raised.value.hint == (f"chmod 600 '{file}'" if "other users" in why else None)


def test_a_key_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", " k ")
    monkeypatch.setenv("EMPTY_KEY", " ")
    assert [credentials.key_of(named) for named in ("env:SOME_KEY", "sk-1", "k:1")] == ["k", None, None]
    for name in ("EMPTY_KEY", "NO_SUCH_KEY"):
        with pytest.raises(ConfigError, match=f"the variable {name} is not set") as raised:
            credentials.key_of(f"env:{name}")
        assert raised.value.hint == f"export {name}=..."
    with pytest.raises(ConfigError, match="cannot be read"):
        credentials.key_of(f"file:{tmp_path / 'gone'}")


def test_names_that_hold_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(credentials.HIDDEN, "PLAIN,OTHER")
    secret = ["OPENAI_API_KEY", "HF_TOKEN", "A_SECRET_B", "DB_PASSWORD", "PLAIN", "OTHER", "X_KEY_FILE"]
    shown = ["KEYBOARD", "X_KEYS", "TOKENIZERS_PARALLELISM", "HF_TOKENS", "PLAI", "PATH", ""]
    assert [name for name in (*secret, *shown) if credentials.is_secret(name)] == secret
    assert credentials.hidden({"B": "1", "A": "2"}) == {credentials.HIDDEN: "A,B"}
    assert credentials.hidden({}) == {}


def test_keys_for_other_machines_go_by_a_file_and_replace_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text("old")
    file.chmod(0o644)
    credentials.write(file, {"ONE_KEY": "é", "TWO_KEY": "2"})
    assert file.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("TWO_KEY", "own")
    monkeypatch.setenv("ONE_KEY", "")
    monkeypatch.delenv("ONE_KEY")
    monkeypatch.setenv(credentials.FILE, str(file))
    credentials.load()
    assert (os.environ["ONE_KEY"], os.environ["TWO_KEY"]) == ("é", "own")
    for gone in (str(tmp_path / "gone"), None):
        monkeypatch.setenv(credentials.FILE, gone) if gone else monkeypatch.delenv(credentials.FILE)
        credentials.load()


def test_a_lock_is_held_by_one_and_leaves_nothing(tmp_path: Path) -> None:
    place = tmp_path / "rows"
    with locks.held(place):
        assert names(tmp_path) == [".rows.lock"]
        assert locks.is_held(place)
        with pytest.raises(ConfigError) as raised, locks.held(place):
            pytest.fail("two hold it")
        assert raised.value.message == f"another run is writing {place}"
        assert raised.value.hint == "wait for it, or choose another name"
        with pytest.raises(ConfigError, match="busy"), locks.held(place, ConfigError("busy")):
            pytest.fail("two hold it")
        assert locks.is_held(place)
    assert not locks.is_held(place)
    assert names(tmp_path) == []
