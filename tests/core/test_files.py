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
    (tmp_path / "model-2").touch()
    for option in ("to", "clean"):
        with pytest.raises(UsageError, match="is in use") as used, files.fresh_folder(to, option=option):
            pass
        assert used.value.hint == f"--{option} {tmp_path / 'model-3'}, or go on with what is in {to}"
    (tmp_path / "model-2").unlink()
    assert [file.name for file in to.iterdir()] == ["whole"]
