"""A workspace as `virc download` leaves it: every command finds rows, bases and models there without a flag."""

import json
import shutil
from pathlib import Path

import pytest
from support import crux
from support.called import virc

from virc.core.files import HIDDEN
from virc.download.hub import record
from virc.download.hub.repository import Kind
from virc.models.registry import EMBEDDED_FOLDER
from virc.stages import resolve as stages
from virc.systems import registry as systems
from virc.training import inputs as training

BASE = "Qwen/Qwen2.5-VL-7B-Instruct"
NEEDED = {
    "dataset_info.json",
    "README.md",
    f"{crux.IMAGES}.tar.lz4",
    "ViRC_stage_1_InstrSFT_scale_dynamic_50K.json",
    "ViRC_stage_2_PracSFT_scale_dynamic_50K.json",
    "ViRC_stage_3_StratRL_train_scale_dynamic.parquet",
    "ViRC_stage_3_StratRL_val_scale_dynamic.parquet",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the default system's stages need of CRUX, and a small model in the place of their base."""
    folder = tmp_path_factory.mktemp("made")
    published = crux.publish(folder / "data" / "CRUX")
    for name in published.keys() - NEEDED:
        published[name].unlink()
    archive = published[f"{crux.IMAGES}.tar.lz4"]
    assert virc("unpack", archive, "--to", archive.parent).code == 0
    archive.unlink(missing_ok=True)
    base = folder / "models" / BASE.rpartition("/")[2]
    shutil.copytree(EMBEDDED_FOLDER, base)
    settings = base / "preprocessor_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "max_pixels": 12845056}))
    fetched(base, BASE)
    fetched(archive.parent, "LeonMiao/CRUX", "dataset")
    return folder


@pytest.fixture
def workspace(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "workspace"
    shutil.copytree(made, folder)
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(folder)
    return folder


def fetched(folder: Path, repo: str, kind: Kind = "model") -> None:
    """Let a folder have come from that repository."""
    (folder / HIDDEN / "parts").mkdir(parents=True, exist_ok=True)
    record.write(folder, record.Record(repo, kind, "0" * 40))


@pytest.mark.parametrize("stage", ["instruct", "practice", "rl"])
def test_every_stage_finds_its_rows(stage: str, workspace: Path) -> None:
    resolved = stages.resolve(systems.get("virc"), stage, given={"base": BASE})
    folder = workspace / "data" / "CRUX"
    assert training.rows(resolved, workspace).file.parent == folder
    tried = training.validation(resolved, workspace)
    assert (tried is not None) == (stage == "rl")
    assert tried is None or tried.file == folder / "ViRC_stage_3_StratRL_val_scale_dynamic.parquet"
    assert training.base(resolved, workspace).folder == workspace / "models" / "Qwen2.5-VL-7B-Instruct"


def test_a_base_that_was_fetched_from_someone_else_is_not_the_published_one(workspace: Path) -> None:
    base = workspace / "models" / "Qwen2.5-VL-7B-Instruct"
    fetched(base, "someone/Qwen2.5-VL-7B-Instruct")
    done = virc("train", "--stage", "instruct", "--dry-run")
    assert f"\nhint: virc download {BASE}\n" in done.err
