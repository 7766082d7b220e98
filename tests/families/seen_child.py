"""Prints the sizes in px at which image processors of transformers show pictures, which they need torchvision to do."""

import json
import sys
from importlib import import_module
from typing import Any
from unittest.mock import MagicMock

import_module("transformers.image_processing_backends")  # what it is without torchvision, before the stand-ins
for room in ("", ".transforms", ".transforms.v2", ".transforms.v2.functional"):
    sys.modules[f"torchvision{room}"] = MagicMock()


def of(kind: str, way: str = "image_processing") -> Any:
    return import_module(f"transformers.models.{kind}.{way}_{kind}")


def minicpm(high: int, wide: int) -> Any:
    made = of("minicpmv4_6", "image_processing_pil").MiniCPMV4_6ImageProcessorPil()
    rest = (made.scale_resolution, made.patch_size, made.downsample_mode, True)
    grid = made.get_sliced_grid((high, wide), made.max_slice_nums, made.scale_resolution)
    return made.get_refine_size((high, wide), grid, *rest) if grid else made.find_best_resize((high, wide), *rest)


def lfm(high: int, wide: int) -> Any:
    made = object.__new__(of("lfm2_vl").Lfm2VlImageProcessor)
    few = (made.downsample_factor, made.min_image_tokens, made.max_image_tokens, made.encoder_patch_size)
    large = (made.max_image_tokens, made.encoder_patch_size, made.downsample_factor, made.max_pixels_tolerance)
    if not made._is_image_too_large(high, wide, *large):
        return made.smart_resize(high, wide, *few)[::-1]
    return made._get_grid_layout(high, wide, made.min_tiles, made.max_tiles, made.tile_size)[3:1:-1]


def nemotron(high: int, wide: int) -> Any:
    made = of("nemotron_h_omni").NemotronH_Omni_Reasoning_V3ImageProcessor
    limits = (made.min_num_patches, made.max_num_patches)
    sides = of("nemotron_h_omni").get_patch_grid_size(high, wide, made.patch_size, 2, *limits)
    return [made.patch_size * side for side in sides]


def minimax(high: int, wide: int) -> Any:
    limits = of("minimax_m3_vl").MiniMaxM3VLImageProcessor.size
    return of("minimax_m3_vl").smart_resize(high, wide, 28, limits["shortest_edge"], limits["longest_edge"])


def ovis(high: int, wide: int) -> Any:
    columns, rows = of("ovis2", "image_processing_pil").get_min_tile_covering_grid((high, wide), 448, 12)
    return rows * 448, columns * 448


def step(high: int, wide: int) -> Any:
    made = object.__new__(of("step3p7").Step3p7ImageProcessor)
    return made._plan_patches(wide, high, made.size["height"], made.patch_size)[1][::-1]


SEEN = {
    "glm-5": lambda high, wide: of("glm5_next", "image_processing_pil").smart_resize(2, high, wide),
    "kimi-k2.5": lambda high, wide: of("kimi_k25").navit_resize(high, wide, 14, 2, 16_384, 512)[1],
    "kimi-vl": lambda high, wide: of("kimi_k25").navit_resize(high, wide, 14, 2, 4096, 512)[1],
    "lfm2-vl": lfm,
    "minicpm-v": minicpm,
    "minimax-m3": minimax,
    "molmo2": lambda high, wide: of("molmo2").compute_crop_geometry(high, wide, 8, [4, 4], 378, 14)[2:],
    "nemotron-omni": nemotron,
    "ovis2": ovis,
    "step3": step,
    "whole": lfm,
}
asked = json.load(sys.stdin)
print(json.dumps({name: [SEEN[name](high, wide)[::-1] for wide, high in sizes] for name, sizes in asked.items()}))
