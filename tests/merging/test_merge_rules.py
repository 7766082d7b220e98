"""Rules of `virc merge`, one by one: room for a copy, how the model is asked, and what it began as."""

import json
from pathlib import Path

import pytest
from support import small_lora

from virc.merging import source
from virc.models import provenance
from virc.models.provenance import Origin


@pytest.mark.parametrize(
    ("root", "began"),
    [("Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct"), ("models/mine", "mine"), (None, "base")],
)
def test_an_adapter_began_as_what_its_base_began_as(
    root: str | None, began: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text(json.dumps({"model_type": "qwen2_5_vl"}))
    if root:
        provenance.write(base, Origin(kind="shards", source="before@9", root=root))
    adapter = small_lora.describe(tmp_path / "lora", base_model_name_or_path=str(base))
    monkeypatch.setattr(source.checkpoint, "file_bytes", lambda _: 1)
    assert source._of_adapter(adapter, base, None).origin.root == began
