"""How a model is asked, by what is known of it: sizes of pictures, its patch grid, warnings, memory."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import small_lora

from virc.core.errors import SetupError
from virc.families import registry as families
from virc.models import load
from virc.models.load import Choice
from virc.probing.identity import Identity
from virc.probing.result import Probed


@pytest.mark.parametrize(("kind", "longest"), [("vllm", None), ("", load.CAUTIOUS_SIDE)])
def test_a_server_that_may_scale_pictures_gets_small_ones(kind: str, longest: int | None) -> None:
    server: Any = SimpleNamespace(endpoint="http://a/v1", kind=kind, named="m --endpoint http://a/v1")
    grid, said = load._grid_at(server, families.get("qwen2.5-vl"), None, Choice("m"))
    assert (grid.longest, bool(said)) == (longest, longest is not None)


@pytest.mark.parametrize(("settled", "unit"), [(False, "thousand"), (True, "unit")])
def test_what_was_found_of_boxes_alone_does_not_change_how_a_batch_is_prompted(settled: bool, unit: str) -> None:
    server: Any = SimpleNamespace(
        endpoint="http://a/v1", kind="vllm", named="m", model="qwen3-vl", root=None, leave_out=lambda _: None
    )
    found = Probed(endpoint="http://a/v1", model="qwen3-vl", coordinates="unit", boxes_alone=True)
    setup = load._stock_setup_at(server, Choice("m"), Identity(("qwen3-vl",)), found, settled)
    assert setup.chat_protocol.protocol.coordinates == unit


@pytest.mark.parametrize(
    ("device", "torch", "adapter", "runs"),
    [
        (None, True, False, "llama.cpp on cpu, 9000"),
        ("cpu", True, False, "torch on cpu, 9000"),
        (None, True, True, "torch on None, 9000"),
    ],
)
def test_what_runs_a_model_of_the_package(
    device: str | None, torch: bool, adapter: bool, runs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loads(what: str) -> SimpleNamespace:
        def refuse(_: object, device: str | None, _grid: object, max_pixels: int, *__: object, **___: object) -> None:
            raise SetupError(f"{what} on {device}, {max_pixels}")

        return SimpleNamespace(load=refuse)

    monkeypatch.setattr(load, "find_spec", lambda name: name != "torch" or torch or None)
    monkeypatch.setattr("virc.backends.llamacpp.load", loads("llama.cpp").load)
    monkeypatch.setitem(sys.modules, "virc.backends.local", loads("torch"))
    model = str(small_lora.describe(tmp_path / "lora")) if adapter else "tiny"
    with pytest.raises(SetupError, match=f"^{runs}$"):
        load.open_model(Choice(model=model, device=device, max_pixels=9000))
