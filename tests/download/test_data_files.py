"""What a system's stages need from the hub, under their overlays."""

import json
from pathlib import Path

import pytest

from virc.core.errors import DataError
from virc.download.data_files import Needed, bases, data_files, files_of
from virc.download.hub.repository import File, Listing, Repo
from virc.systems import registry as systems

SFT = ("ViRC_stage_1_InstrSFT_scale_{}", "ViRC_stage_2_PracSFT_scale_{}")
RL = ("ViRC_stage_3_StratRL_train_scale_{}.parquet", "ViRC_stage_3_StratRL_val_scale_{}.parquet")


@pytest.mark.parametrize(
    ("overlays", "scale", "rows", "base"),
    [
        ((), "dynamic", "50K", "Qwen/Qwen2.5-VL-7B-Instruct"),
        (("100k", "3b"), "dynamic", "100K", "Qwen/Qwen2.5-VL-3B-Instruct"),
        (("fixed",), "fixed", "50K", "Qwen/Qwen2-VL-7B-Instruct"),
        (("100k", "fixed"), "fixed", "100K", "Qwen/Qwen2-VL-7B-Instruct"),
        (("lora", "1x24g"), "dynamic", "50K", "Qwen/Qwen2.5-VL-7B-Instruct"),
    ],
)
def test_overlays_choose_what_the_paper_stages_need(
    overlays: tuple[str, ...], scale: str, rows: str, base: str
) -> None:
    names = (*(f"{name.format(scale)}_{rows}" for name in SFT), *(name.format(scale) for name in RL))
    virc = systems.get("virc")
    assert data_files(virc, iter(overlays)) == (Needed("CRUX", names),)
    assert bases(virc, overlays) == (base,)


def test_rows_of_several_datasets_files_and_shared_ones_are_told_apart(tmp_path: Path) -> None:
    stage = "{{kind: {}, settings: {{base: {}, data: {}, learning_rate: 1e-5{}}}}}"
    stages = (
        stage.format("sft", "o/m", "one/a", ""),
        stage.format("sft", "o/m", "two/a", ""),
        stage.format("rl", "./mine", "one/b.parquet", ", validation: one/a"),
        stage.format("sft", "o/n", "./rows.json", ""),
        stage.format("sft", "o/n", "drawn/rows", ""),
    )
    listed = "\n".join(f"  s{number}: {text}" for number, text in enumerate(stages))
    file = tmp_path / "s.yaml"
    file.write_text(f"name: s\ndatasets: {{one: {{hub: x/one}}, two: {{hub: y/two}}}}\nstages:\n{listed}\n")
    system = systems.load(file)
    assert data_files(system) == (Needed("one", ("a", "b.parquet")), Needed("two", ("a",)))
    assert bases(system) == ("o/m", str(tmp_path / "mine"), "o/n")


def listed(*names: str) -> Listing:
    files = tuple(File(name, 1, git="0" * 40) for name in names)
    return Listing(Repo("x/rows", "dataset"), "c" * 40, files)


def info(**files: object) -> bytes:
    return json.dumps({name: {"file_name": file} for name, file in files.items()}).encode()


def test_names_stand_for_files_by_the_info_or_by_themselves() -> None:
    held = listed("dataset_info.json", "sub/a.json", "b.json", "b.parquet", "c.json")
    found = files_of(["one", "b.parquet", "b", "one"], info(one="sub/a.json", two="c.json"), held)
    assert found == ("sub/a.json", "b.parquet")
    assert files_of(["b", "c"], b"{}", held) == ("b.parquet", "c.json")
    with pytest.raises(DataError, match="x/rows has no rows 'b'") as refused:
        files_of(["b"], b"{}", listed("c.png"))
    assert refused.value.hint is None
