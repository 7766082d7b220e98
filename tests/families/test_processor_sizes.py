"""Pictures are shown at the sizes that each family's own processor of transformers gives them."""

import json
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.tables import each_case

from virc.backends.checkpoint import image_grid
from virc.families import registry
from virc.families.covering import CoveringTiles
from virc.reasoning.resize import Tiles, smart_resize

pytestmark = pytest.mark.integration


def drawn(count: int = 200) -> list[tuple[int, int]]:
    """Sizes in pixels: of photos, small ones, and long ones."""
    draw = random.Random(83)
    usual = [(draw.randint(60, 5000), draw.randint(60, 5000)) for _ in range(count // 2)]
    small = [(draw.randint(2, 120), draw.randint(2, 120)) for _ in range(count // 4)]
    long = [(draw.randint(20, 60) * draw.randint(20, 180), draw.randint(20, 60)) for _ in range(count // 4)]
    return [size for size in usual + small + long if max(size) <= 180 * min(size)]


def processors() -> dict[str, tuple[Any, dict[str, Any]]]:
    """Family -> the processor's class, and the settings that its makers publish."""
    from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil
    from transformers.models.glm46v.image_processing_pil_glm46v import Glm46VImageProcessorPil
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    of_qwen2 = {"min_pixels": 3136, "max_pixels": 12_845_056}
    of_qwen3 = {"size": {"shortest_edge": 65_536, "longest_edge": 16_777_216}, "patch_size": 16}
    of_glm = {"size": {"shortest_edge": 12_544, "longest_edge": 9_633_792}}
    return {
        "qwen2-vl": (Qwen2VLImageProcessorPil, of_qwen2),
        "qwen2.5-vl": (Qwen2VLImageProcessorPil, of_qwen2),
        "qwen3-vl": (Qwen2VLImageProcessorPil, of_qwen3),
        "qwen3.5": (Qwen2VLImageProcessorPil, of_qwen3),
        "llava-onevision": (Qwen2VLImageProcessorPil, {"min_pixels": 3136, "max_pixels": 2_560_000}),
        "glm-4v": (Glm4vImageProcessorPil, of_glm),
        "glm-ocr": (Glm46VImageProcessorPil, of_glm),
    }


@each_case("family", ["qwen2-vl", "qwen2.5-vl", "qwen3-vl", "qwen3.5", "glm-4v", "glm-ocr", "llava-onevision"])
def test_sizes_are_those_of_the_family_processor(family: str) -> None:
    kind, settings = processors()[family]
    processor, patch = kind(**settings), settings.get("patch_size", 14)
    told = {"image_processor_type": kind.__name__, **settings}
    grids = [registry.get(family).grid, image_grid(told)]
    for width, height in drawn():
        patches = processor.get_number_of_image_patches(height, width, {"size": processor.size})
        if kind.__name__.startswith("Qwen") and min(width, height) < grids[0].factor:
            continue  # virc enlarges these as a whole before it sends them, as GLM's processor does
        for grid in grids:
            wide, high = smart_resize(width, height, grid)
            assert wide * high == patches * patch**2, (width, height, grid)


def test_tiles_are_those_of_the_family_processor() -> None:
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
    from transformers.models.ovis2.image_processing_pil_ovis2 import get_min_tile_covering_grid

    settings = {"size": {"height": 448, "width": 448}, "crop_to_patches": True, "min_patches": 1, "max_patches": 12}
    processor = GotOcr2ImageProcessorPil(**settings)
    grid = image_grid({"image_processor_type": "GotOcr2ImageProcessorFast", **settings})
    covering = image_grid({"image_processor_type": "Ovis2ImageProcessor", **settings})
    assert isinstance(grid, Tiles)
    assert isinstance(covering, CoveringTiles)
    assert (grid.min_pixels, grid.max_pixels) == (registry.get("internvl3").grid.min_pixels, 12 * 448**2)
    for width, height in (*drawn(), (448, 448), (896, 448), (900, 900), (2000, 1000)):
        assert grid.tiles(width, height) == processor.get_number_of_image_patches(height, width, {}), (width, height)
        columns, rows = get_min_tile_covering_grid((height, width), 448, 12)
        assert covering.shape(width, height) == (columns, rows), (width, height)
        marked = [[columns] * rows, columns * rows + 1] if columns * rows > 1 else [[], 1]
        assert [[*map(len, covering.views(width, height)[1:])], covering.tiles(width, height)] == marked


@each_case("mode", ["16x", "4x"])
def test_slices_are_those_of_the_family_processor(mode: str) -> None:
    from transformers.models.minicpmv4_6.image_processing_pil_minicpmv4_6 import MiniCPMV4_6ImageProcessorPil

    made, cell = MiniCPMV4_6ImageProcessorPil(downsample_mode=mode), 56 if mode == "16x" else 28
    grid = image_grid({"image_processor_type": "MiniCPMV4_6ImageProcessor", "downsample_mode": mode})
    for width, height in (*drawn(2000), (448, 448), (896, 448), (1344, 1344)):
        rows, columns = made.get_sliced_grid((height, width), 9, 448) or (0, 0)
        whole = made.find_best_resize((height, width), 448, 14, mode, not rows)
        slices = made.get_refine_size((height, width), (rows, columns), 448, 14, mode, True) if rows else (0, 0)
        each = [(slices[0] // rows // cell, slices[1] // columns // cell)] * columns if rows else []
        assert grid.views(width, height) == [[(whole[0] // cell, whole[1] // cell)], *[each] * rows], (width, height)


@each_case("most", [70, 280, 1120])
def test_cells_are_those_of_the_family_processor(most: int) -> None:
    from transformers.models.gemma4.image_processing_pil_gemma4 import get_aspect_ratio_preserving_size

    grid = image_grid({"image_processor_type": "Gemma4ImageProcessor", "max_soft_tokens": most})
    for width, height in (*drawn(2000), (3600, 20), (21, 3700), (768, 768), (67, 67)):
        sides = get_aspect_ratio_preserving_size(height, width, 16, 9 * most, 3)
        assert grid.tokens(width, height) == math.prod(sides) // 48**2, (width, height)


@each_case(("family", "stated", "shown"), [
    ("qwen2.5-vl", {}, (1148, 840)),
    ("glm-4v", {}, (1988, 1512)),
    ("glm-4v", {"max_pixels": 500_000}, (1988, 1512)),  # which GLM's processor does not read
])  # fmt: skip
def test_a_processor_that_states_no_limits_has_those_of_its_class(
    family: str, stated: dict[str, int], shown: tuple[int, int]
) -> None:
    kind, _ = processors()[family]
    assert kind(**stated).get_number_of_image_patches(1500, 2000, {}) == shown[0] * shown[1] // 14**2
    told = {"image_processor_type": kind.__name__, "patch_size": 14, "merge_size": 2, **stated}
    assert smart_resize(2000, 1500, image_grid(told)) == shown


def test_what_is_shown_stays_as_it_is_and_is_no_more_than_tiles_hold() -> None:
    by_area = ("glm-5", "kimi-k2.5", "kimi-vl", "minimax-m3", "nemotron-omni")
    tiled = ("lfm2-vl", "minicpm-v", "molmo2", "ovis2", "step3")
    usual = [size for size in drawn(2000) if max(size) < 100 * min(size)]
    grids = {name: registry.get(name).grid for name in (*by_area, *tiled)}
    by_area, grids["whole"] = (*by_area, "whole"), image_grid({"image_processor_type": "Lfm2VlImageProcessorFast"})
    shown = {name: [smart_resize(*size, grids[name]) for size in usual] for name in by_area}
    child, asked = Path(__file__).with_name("seen_child.py"), json.dumps(shown | dict.fromkeys(tiled, usual))
    done = subprocess.run((sys.executable, str(child)), input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    for name in by_area:
        changed = [pair for pair in zip(shown[name], map(tuple, seen[name]), strict=True) if pair[0] != pair[1]]
        assert not changed, (name, changed[:5])
    most = {name: max(map(math.prod, seen[name])) for name in tiled}
    assert most == {name: grids[name].max_pixels for name in tiled}
