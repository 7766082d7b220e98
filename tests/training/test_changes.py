"""What has changed since a run was begun is named, and rows are checked again where that is wanted."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from stage_rows import drawn
from support.called import virc
from support.made import make

from virc.core.errors import ConfigError
from virc.core.events import Reporter
from virc.models.registry import EMBEDDED_FOLDER
from virc.runs import run as runs
from virc.runs.run import Info, Run
from virc.training import changes, inputs, prepare
from virc.training.prepared import Prepared
from virc.training.request import TrainRequest

RECIPES = Path(inputs.__file__).parents[2]
BACK = "put back what is gone; or, without its rows, "
AGAIN = "virc train --resume --name mine --rows-changed checks them again and goes on with them"


@pytest.fixture(scope="module")
def drawn_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("drawn") / "rows", "rl,sft").parent


def begun(
    drawn_rows: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, stage: str = "instruct",
    before: Callable[[Path], object] = lambda _: None,
) -> Run:  # fmt: skip
    """A run whose rows were checked by this interpreter, with a tool's copy and a model of its own."""
    shutil.copytree(drawn_rows, folder / "data" / "polygons")
    before(folder)
    shutil.copytree(EMBEDDED_FOLDER, folder / "base")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(prepare.making, "made", lambda *_: Path(sys.executable))
    monkeypatch.setattr(prepare.environments, "recipes_in", lambda _: RECIPES)
    for check in ("check_packages", "check_tool_packages"):
        monkeypatch.setattr(prepare.packages, check, lambda *_: None)
    file = folder / "data" / "polygons" / {"instruct": "trajectories.json", "rl": "rl.parquet"}[stage]
    write_run = prepare.run_files.write_run

    def with_tool(prepared: Prepared) -> Info:
        (prepared.folder / "code").mkdir(exist_ok=True)
        (prepared.folder / "code" / "my_tool.py").write_text("NAME = 'my_tool'\n")
        return write_run(prepared)

    monkeypatch.setattr(prepare.run_files, "write_run", with_tool)
    request = TrainRequest(system="tiny", stage=stage, base=str(folder / "base"), data=file, name="mine")
    return prepare.prepare(request, Reporter()).run


def edit(file: Path) -> None:
    """Change bytes all over it, and neither size nor name."""
    content = bytearray(file.read_bytes())
    content[::97] = bytes(each ^ 1 for each in content[::97])
    file.write_bytes(content)
    os.utime(file, ns=(1, 1))


def grow(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b" ")
    os.utime(file, ns=(1, 1))


def grow_base_too(file: Path) -> None:
    for each in (file, file.parents[2] / "base" / "config.json"):
        grow(each)


def edit_at(place: int) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[place] ^= 1
        file.write_bytes(content)
        os.utime(file, ns=(1, 1))

    return change


def copy_anew(file: Path) -> None:
    os.utime(file, ns=(1, 1))


@pytest.mark.parametrize(
    ("file", "change", "said", "hint"),
    [
        ("data/polygons/trajectories.json", edit, "(rows)", AGAIN),
        ("data/polygons/images/*/*.png", Path.unlink, "(images, gone)", BACK + AGAIN),
        ("base/model.safetensors", edit_at(-1), "(base)", "begin another run"),
        ("runs/mine/code/my_tool.py", edit, "(code)", "begin another run"),
        ("data/polygons/trajectories.json", grow_base_too, "(base)", "begin another run"),
        ("data/polygons/trajectories.json", copy_anew, None, None),
    ],
)
def test_what_has_changed_is_refused_by_its_name(
    file: str, change: Callable[[Path], None], said: str | None, hint: str | None, drawn_rows: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run = begun(drawn_rows, tmp_path, monkeypatch)
    changed = sorted(tmp_path.glob(file))[0]
    change(changed)
    done = virc("runs", "check", "mine")
    if said is None:
        assert (done.code, done.out) == (0, "mine has all that it was begun with, unchanged\n")
        return
    assert done.code == 3
    assert said in done.err
    assert str(changed) in done.err
    assert hint is not None
    assert hint in done.err
    assert virc("train", "--resume", "--name", "mine").err.endswith(done.err)
    assert runs.state(run).attempt == 0


COMPARED = {
    "rows.json": "rows", "held.json": "rows", "learnt.png": "images", "held.png": "images",
    "base/config.json": "base", "base/chat_template.jinja": "base", "adapter/adapter_model.safetensors": "base",
    "runs/mine/code/my_tool.yaml": "code", "runs/mine/sources/other/code/its_tool.py": "code",
    "runs/mine/code/lists/words.txt": "code",
}  # fmt: skip
"""Each file of a run that is compared: what it is of."""


@pytest.fixture
def small(tmp_path: Path) -> Run:
    """A run of empty files, with an adapter, held-out rows and another system's code."""
    paths = {"data": "rows.json", "validation": "held.json", "adapter": "adapter", "base": "base"}
    run = make(tmp_path, "mine", **{name: str(tmp_path / path) for name, path in paths.items()})
    for name in (*COMPARED, "base/README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    turns = [{"role": "user", "content": "<image>q"}, {"role": "assistant", "content": "a"}]
    for rows, picture in (("rows", "learnt.png"), ("held", "held.png")):
        (tmp_path / f"{rows}.json").write_text(json.dumps([{"messages": turns, "images": [picture]}]))
    changes.write_digests(run, runs.info(run), run.folder, [])
    return run


def test_each_file_that_an_engine_reads_is_compared(small: Run, tmp_path: Path) -> None:
    grow(tmp_path / "base/README.md")
    assert list(changes.changed_files(small)) == []
    for file in COMPARED:
        grow(tmp_path / file)
    assert {file: what for what, file in changes.changed_files(small)} == {
        tmp_path / file: what for file, what in COMPARED.items()
    }


@pytest.mark.parametrize("stage", ["instruct", pytest.param("rl", marks=pytest.mark.integration)])
def test_changed_rows_are_checked_again_and_accepted(
    stage: str, drawn_rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(drawn_rows, tmp_path, monkeypatch, stage)
    before = runs.info(run)
    inode = Path(before.data).stat().st_ino
    if stage == "instruct":
        rows = json.loads(Path(before.data).read_bytes())
        Path(before.data).write_text(json.dumps(rows[:-1]))
    picture = min((tmp_path / "data" / "polygons" / "images").rglob("*.png"))
    picture.write_bytes(picture.read_bytes() + b"\0")
    with pytest.raises(ConfigError, match="have changed"):
        changes.check_unchanged(run)
    prepare.prepare(TrainRequest.of_run(run), Reporter(), begun=run)
    changes.check_unchanged(run)
    after = runs.info(run)
    assert after.rows == before.rows - (stage == "instruct")
    assert not list((tmp_path / "runs").glob(".mine*"))
    assert (after.data, after.dataset, after.settings) == (before.data, before.dataset, before.settings)
    assert (Path(after.data).stat().st_ino != inode) is (stage == "rl")  # whose rows are a copy in the run
    inputs.still_there(run, after)
