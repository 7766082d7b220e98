"""Files are there whole or not at all, and folders too."""

from collections.abc import Callable
from pathlib import Path

import pytest

from virc.core import files
from virc.core.errors import ConfigError, UsageError
from virc.core.plan import Plan, Step, write_files


def write_plan(path: Path, data: bytes) -> None:
    write_files(Plan(Step((), ""), {str(path.parent.parent / "first"): "", str(path): data.decode()}))


@pytest.mark.parametrize("write", [files.write_whole, write_plan])
def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, bytes], None]
) -> None:
    path = tmp_path / "inner" / "settings.json"
    write(path, b"first")

    def full(self: Path, data: bytes) -> int:
        self.open("wb").close()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        patched.setattr(Path, "write_text", lambda self, text: full(self, text.encode()))
        with pytest.raises(OSError, match="No space"):
            write(path, b"second")
    assert path.read_bytes() == b"first"
    assert [file.name for file in path.parent.iterdir()] == ["settings.json"]


def test_through_a_link_the_file_that_it_leads_to_is_written(tmp_path: Path) -> None:
    shared, link = tmp_path / "shared", tmp_path / "link"
    shared.write_text("first")
    link.symlink_to(shared)
    files.write_whole(link, b"second")
    assert link.is_symlink()
    assert shared.read_text() == "second"


def test_a_file_over_its_limit_is_refused_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(2048))
    assert files.contents(path, 2048) == bytes(2048)
    with pytest.raises(OSError, match="it is over 1 KiB"):
        files.contents(path, 1024)
    with pytest.raises(OSError, match="no file can have that name") as raised:
        files.contents(Path("\0"), 9)
    assert raised.value.filename == "\0"


def test_a_fresh_folder_comes_whole_or_not_at_all(tmp_path: Path) -> None:
    to = tmp_path / "model"
    with pytest.raises(FileNotFoundError), files.fresh_folder(to) as partial:
        (partial / "half").write_text((partial / "nothing").read_text())
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".model.partial" / "of a killed run").mkdir(parents=True)
    with files.fresh_folder(to) as partial:
        (partial / "whole").touch()
        assert not to.exists()
        with pytest.raises(ConfigError), files.fresh_folder(to):
            pass
    assert [file.name for file in to.iterdir()] == ["whole"]
    assert list(tmp_path.iterdir()) == [to]
    with pytest.raises(UsageError, match="is in use"), files.fresh_folder(to):
        pass
    assert [file.name for file in to.iterdir()] == ["whole"]


def test_an_empty_folder_is_filled_with_its_mode(tmp_path: Path) -> None:
    (to := tmp_path / "model").mkdir(mode=0o750)
    with files.fresh_folder(to) as partial:
        (partial / "whole").touch()
    assert (to.stat().st_mode & 0o777, [file.name for file in to.iterdir()]) == (0o750, ["whole"])


def test_the_size_of_a_folder_is_that_of_its_own_files(tmp_path: Path) -> None:
    (folder := tmp_path / "run" / "inner").mkdir(parents=True)
    (folder / "file").write_bytes(bytes(100))
    (large := tmp_path / "weights").write_bytes(bytes(10**6))
    (folder / "link").symlink_to(large)
    assert 100 <= files.size_of(tmp_path / "run") < 1_000


def test_a_home_folder_is_meant_by_its_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert files.expanded("~/x") == Path("/home/somebody/x")
    assert files.expanded("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", ""])
def test_a_name_that_no_file_can_have_is_none(name: str) -> None:
    assert not files.is_file(name)
    assert not files.is_folder(Path(name) / "x")


def test_a_missing_file_gets_the_nearest_name_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows.csv").touch()
    assert files.near_file(tmp_path / "row.csv") == f"did you mean {str(tmp_path / 'rows.csv')!r}?"
    assert files.near_file(tmp_path / "rows") == f"did you mean {str(tmp_path / 'rows.csv')!r}?"
    assert files.near_file(tmp_path / "rows.csv") is None
    assert files.near_file(tmp_path / "row") is None
    assert files.near_file(tmp_path / "*") is None
    for name in ("row.txt", "rows.b", "rows.c", "rows.d", ".hidden"):
        (tmp_path / name).touch()
    (tmp_path / "rows.a").mkdir()
    assert files.near_file(tmp_path / "rows") == f"did you mean {str(tmp_path / 'rows.b')!r}?"
    monkeypatch.chdir(tmp_path)
    assert files.near_file(Path()) is None
