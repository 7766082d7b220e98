"""What is said of files and folders that a user names, and of keys in files; at the bounds of each."""

from pathlib import Path

import pytest

from virc.core import files


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
