"""Rules of `virc merge`, one by one: room for a copy, how the model is asked, and what it began as."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import small_lora

from virc.core.errors import SetupError, VircError
from virc.core.events import Event, Reporter
from virc.merging import build, source
from virc.models import provenance
from virc.models.chat_protocol import DEFAULT
from virc.models.load import Choice
from virc.models.provenance import Origin
from virc.tools.registry import ToolMissingError


@pytest.mark.parametrize(("free", "fits"), [(99, False), (100, True)])
def test_weights_are_copied_where_there_is_room(
    free: int, fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, to = tmp_path / "there", tmp_path / "to"
    there.mkdir()
    to.mkdir()
    (there / "model-1.safetensors").write_bytes(bytes(100))
    (there / "notes.txt").write_text("mine")
    monkeypatch.setattr(build.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    monkeypatch.setattr(build.checkpoint, "check", lambda _: None)
    monkeypatch.setattr(build.checkpoint, "parameters", lambda _: 7)
    given: Any = SimpleNamespace(folder=there, bytes=100)
    if fits:
        assert build.copy_weights(given, to) == 7
        assert [file.name for file in to.iterdir()] == ["model-1.safetensors"]
    else:
        with pytest.raises(VircError, match="the model takes 100 bytes, and 99 are free"):
            build.copy_weights(given, to)
        assert list(to.iterdir()) == []


@pytest.mark.parametrize(
    ("known", "error", "hint"),
    [
        (True, SetupError("no torch here"), "virc solve --model DIR tries it"),
        (False, ToolMissingError("no spin here"), "where its tools are: runs/a/code"),
    ],
)
def test_a_model_without_its_protocol_is_asked_in_ours(
    known: bool, error: VircError, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Choice] = []
    events: list[Event] = []

    def opened(choice: Choice) -> None:
        asked.append(choice)
        raise error

    monkeypatch.setattr(build, "open_model", opened)
    protocol = tmp_path / "virc_protocol.json" if known else None
    given: Any = SimpleNamespace(chat_protocol=protocol, code=Path("runs/a/code"))
    assert build._opened(given, tmp_path, Reporter(events.append)) is None
    assert events == [Event("warning", f"the merged model was not tried: {error.message}", hint)]
    assert asked == [Choice(model=str(tmp_path), protocol=None if known else DEFAULT)]


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
