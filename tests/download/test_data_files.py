"""What a system's stages need from the hub, under their overlays."""

import pytest

from virc.download.data_files import Needed, bases, data_files
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
