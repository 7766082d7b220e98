"""How a model is asked, by what is known of it: sizes of pictures, its patch grid, warnings, memory."""

import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support import small_lora

from virc.backends.checkpoint import image_grid, image_settings
from virc.core.errors import SetupError
from virc.families import registry as families
from virc.models import load, memory
from virc.models.chat_protocol import ChatProtocol
from virc.models.load import Choice, Loaded, PromptSetup
from virc.models.registry import EMBEDDED_FOLDER
from virc.probing.identity import Identity
from virc.probing.result import Probed
from virc.reasoning.protocol import own_protocol
from virc.reasoning.resize import Grid
from virc.tools import registry as tools

OWN = own_protocol(tools.schemas(tools.DEFAULT))


@pytest.mark.parametrize(
    ("family", "enlarged", "least"),
    [
        ("qwen2.5-vl", 50_000, 50_000),
        ("qwen2.5-vl", 1000, 3136),
        ("qwen2.5-vl", None, 3136),
        ("qwen2.5-vl", 900_000, 800_000),  # more than it shows unchanged
        ("qwen3-vl", 90_000, 65_536),
    ],
)
def test_small_pictures_are_sent_as_large_as_the_server_makes_them(
    family: str, enlarged: int | None, least: int
) -> None:
    """That matters to boxes in pixels alone."""
    probed = Probed(endpoint="http://a/v1", model="m", longest=2000, max_pixels=800_000, min_pixels=enlarged)
    server: Any = SimpleNamespace(endpoint="http://a/v1", kind="vllm", named="m --endpoint http://a/v1")
    grid, _ = load._grid_at(server, families.get(family), probed, Choice("m"))
    assert (grid.min_pixels, grid.longest) == (least, 2000)


@pytest.mark.parametrize(("kind", "longest"), [("vllm", None), ("", load.CAUTIOUS_SIDE)])
def test_a_server_that_may_scale_pictures_gets_small_ones(kind: str, longest: int | None) -> None:
    server: Any = SimpleNamespace(endpoint="http://a/v1", kind=kind, named="m --endpoint http://a/v1")
    grid, said = load._grid_at(server, families.get("qwen2.5-vl"), None, Choice("m"))
    assert (grid.longest, bool(said)) == (longest, longest is not None)


@pytest.mark.parametrize(("chosen", "warned"), [(None, True), ("default", False)])
def test_our_own_protocol_is_warned_of_unless_it_was_chosen(chosen: str | None, warned: bool) -> None:
    assert bool(load._untrained(ChatProtocol(OWN), "m", Choice("m", protocol=chosen))) is warned


@pytest.mark.parametrize(("chosen", "factor"), [("qwen3-vl", 32), (None, 28)])
def test_a_gguf_file_without_a_grid_has_that_of_the_chosen_family(chosen: str | None, factor: int) -> None:
    weights: Any = SimpleNamespace(gguf=SimpleNamespace(grid=None))
    spoken = PromptSetup(ChatProtocol(OWN), "by its name", family="qwen2.5-vl")
    assert load.grid_here(weights, spoken, Choice("m", family=chosen)).factor == factor
    weights.gguf.grid = Grid(14)
    assert load.grid_here(weights, spoken, Choice("m", family=chosen)).factor == 14


@pytest.mark.parametrize(("tokens", "counted"), [(100, 100), (10**6, 16_384)])
def test_the_largest_picture_of_a_model_is_counted_in_patches(
    tokens: int, counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = image_grid(image_settings(EMBEDDED_FOLDER))
    grid = msgspec.structs.replace(grid, max_pixels=grid.factor**2 * tokens)
    monkeypatch.setattr(memory, "image_grid", lambda _: grid)
    assert memory.of_model("tiny", None).image_tokens == counted


def weights(**fields: Any) -> Any:
    """A model of a folder on this machine."""
    known = {"name": "m", "folder": Path("/nowhere/m"), "adapter": None, "gguf": None, "system": None}
    return SimpleNamespace(**known | fields)


@pytest.mark.parametrize(("device", "offered"), [("cpu", True), ("cuda:1", False), ("mps", False)])
def test_time_is_estimated_on_a_cpu_alone(device: str, offered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = SimpleNamespace(device=device, warnings=(), estimate=lambda tokens: (1.0, 1.0), draw_together=bool)
    for name, found in {
        "prompt_setup_here": PromptSetup(ChatProtocol(OWN), "own"),
        "_by_transformers": backend,
    }.items():
        monkeypatch.setattr(load, name, lambda *_, found=found: found)
    loaded = Loaded("/nowhere/m")
    monkeypatch.setattr(load, "loaded_from", lambda _: loaded)
    monkeypatch.setattr(load.models, "find", lambda *_, **__: weights())
    opened = load._weights(Choice("m"), Path())
    assert (bool(opened.estimate), opened.loaded) == (offered, loaded)


@pytest.mark.parametrize("family", ["qwen2.5-vl", "qwen3-vl"])
def test_boxes_and_calls_of_a_probe_count_more_than_the_familys(family: str) -> None:
    found = Probed(endpoint="http://a/v1", model="m", coordinates="unit", box="corners_yx", calls="native")
    protocol = load._stock_protocol(families.get(family), found).protocol
    assert (protocol.coordinates, protocol.box, bool(protocol.schemas)) == ("unit", "corners_yx", True)


@pytest.mark.parametrize(("scaling", "trusted"), [("none", True), ("down", False), ("fixed", False), (None, False)])
def test_counts_of_tokens_are_believed_of_a_server_that_was_seen_not_to_scale(scaling: Any, trusted: bool) -> None:
    said: list[bool] = []
    server: Any = SimpleNamespace(
        endpoint="http://a/v1", kind="vllm", named="m", model="qwen3-vl", root=None, leave_out=lambda _: None,
        trust_sizes=lambda: said.append(True),
    )  # fmt: skip
    probed = Probed(endpoint="http://a/v1", model="qwen3-vl", coordinates="thousand", scaling=scaling)
    load._stock_setup_at(server, Choice("m"), Identity(("qwen3-vl",)), probed)
    assert bool(said) is trusted


@pytest.mark.parametrize(
    ("grid", "found", "longest"), [(1024, None, 1024), (1024, 2000, 1024), (2000, 1024, 1024), (None, None, None)]
)
def test_boxes_in_pixels_are_asked_for_on_the_smaller_of_two_longest_sides(
    grid: int | None, found: int | None, longest: int | None
) -> None:
    for unit, expected in (("pixel", longest), ("thousand", grid)):
        probed: Any = Probed(endpoint="http://a/v1", model="m", coordinates=unit, longest=found)  # type: ignore[arg-type]
        assert load._limited_to_unchanged(Grid(longest=grid), probed).longest == expected


@pytest.mark.parametrize(
    ("grid", "found", "most"),
    [(50_000, 800_000, 50_000), (50_000, 9000, 9000), (50_000, 100, 3136), (50_000, None, 50_000)],
)
def test_boxes_in_pixels_are_asked_for_on_the_smaller_of_two_areas(grid: int, found: int | None, most: int) -> None:
    probed = Probed(endpoint="http://a/v1", model="m", coordinates="pixel", max_pixels=found)
    assert load._limited_to_unchanged(Grid(max_pixels=grid), probed).max_pixels == most


@pytest.mark.parametrize(("settled", "unit"), [(False, "thousand"), (True, "unit")])
def test_what_was_found_of_boxes_alone_does_not_change_how_a_batch_is_prompted(settled: bool, unit: str) -> None:
    server: Any = SimpleNamespace(
        endpoint="http://a/v1", kind="vllm", named="m", model="qwen3-vl", root=None, leave_out=lambda _: None
    )
    found = Probed(endpoint="http://a/v1", model="qwen3-vl", coordinates="unit", boxes_alone=True)
    setup = load._stock_setup_at(server, Choice("m"), Identity(("qwen3-vl",)), found, settled)
    assert setup.chat_protocol.protocol.coordinates == unit


@pytest.mark.parametrize(("chosen", "most"), [(None, 2240 * 1120), (5_000_000, 5_000_000), (9000, 9000)])
def test_a_model_that_is_still_to_be_asked_gets_no_larger_pictures_than_the_question(
    chosen: int | None, most: int
) -> None:
    server: Any = SimpleNamespace(
        endpoint="http://a/v1", kind="vllm", named="m", model="mine", root=None, leave_out=lambda _: None
    )
    assert load._stock_setup_at(server, Choice("m", max_pixels=chosen), Identity(), None).unknown
    assert server.grid.max_pixels == most


@pytest.mark.parametrize("refused", [("logprobs", "seed"), ()])
def test_parameters_that_a_probe_found_refused_are_left_out(refused: tuple[str, ...]) -> None:
    left_out: list[str] = []
    server: Any = SimpleNamespace(
        endpoint="http://a/v1", kind="vllm", named="m", model="qwen3-vl", root=None, leave_out=left_out.extend
    )
    probed = Probed(endpoint="http://a/v1", model="qwen3-vl", coordinates="thousand", left_out=refused)
    load._stock_setup_at(server, Choice("m"), Identity(("qwen3-vl",)), probed)
    assert tuple(left_out) == refused


@pytest.mark.parametrize(("reading", "stock"), [("lenient", True), ("strict", False)])
def test_a_model_without_a_protocol_of_its_own_is_loaded_as_stock(
    reading: Any, stock: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: Any = SimpleNamespace(load=lambda *_, **options: options["stock"])
    monkeypatch.setitem(sys.modules, "virc.backends.local", loaded)
    spoken = PromptSetup(ChatProtocol(msgspec.structs.replace(OWN, reading=reading)), "own")
    assert load._by_transformers(weights(), spoken, Choice("m")) is stock


@pytest.mark.parametrize(("torch", "device", "runs"), [(True, None, True), (False, None, False), (False, "cpu", True)])
def test_where_nothing_runs_the_models_of_the_package_what_helps_is_named(
    torch: bool, device: str | None, runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "virc.backends.local", SimpleNamespace(load=lambda *_, **options: "loaded"))
    monkeypatch.setattr(load, "find_spec", lambda name: torch or None)
    embedded, spoken = weights(name="tiny", folder=EMBEDDED_FOLDER), PromptSetup(ChatProtocol(OWN), "own")
    with nullcontext() if runs else pytest.raises(SetupError, match="nothing is installed that runs tiny"):
        assert load._by_transformers(embedded, spoken, Choice("tiny", device=device)) == "loaded"


@pytest.mark.parametrize(
    ("device", "torch", "adapter", "runs"),
    [
        (None, True, False, "llama.cpp on cpu, 9000"),
        (None, False, False, "llama.cpp on cpu, 9000"),
        ("cpu", False, False, "llama.cpp on cpu, 9000"),
        ("cpu", True, False, "torch on cpu, 9000"),
        ("cuda", False, False, "torch on cuda, 9000"),
        (None, True, True, "torch on None, 9000"),  # llama.cpp would need it merged
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
