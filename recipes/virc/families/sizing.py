"""How the image processor of a family sizes a picture, by its settings in a model's folder."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from virc.core.errors import ConfigError
from virc.families.covering import CoveringTiles
from virc.families.slices import Slices
from virc.reasoning.resize import Grid, Tiles

Settings = Mapping[str, Any]
Sizing = Literal["area", "frames", "tokens", "tiles", "covering", "slices", "square", "cells"]

KEYS = frozenset(
    "min_pixels max_pixels size patch_size merge_size min_image_tokens max_image_tokens min_patches max_patches "
    "max_slice_nums scale_resolution downsample_mode max_soft_tokens".split()
)
"""The settings that say how a picture is sized."""
_AREAS = {"shortest_edge": 56 * 56, "longest_edge": 1280 * 28 * 28}
_AREAS_OF_FRAMES = {"shortest_edge": 112 * 112, "longest_edge": 28 * 28 * 15_000}
"""Limits in px of an image processor of Qwen-VL and of GLM-4V whose file names none (transformers 5.23.0)."""


class ImageProcessor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The image processor of a family; the defaults are that of Qwen-VL.

    Args:
        named: how the name of its class begins.
        sizing: which settings say what takes tokens. `area`: cells of `patch_size` x `merge_size` px, between
            `min_pixels` and `max_pixels`; `frames`: these by `size`, for the two frames that a picture counts as;
            `tokens`: cells of 32 px, `min_image_tokens` to `max_image_tokens` of them; `tiles`: squares of `size`,
            `min_patches` to `max_patches` of them and the whole; `covering`: as few of these as see nearly all;
            `slices`: the whole and up to `max_slice_nums` slices of about a square of `scale_resolution` each;
            `square`: the whole alone; `cells`: those of 48 px that fill `max_soft_tokens`.
        each: the key of config.json for the tokens of a square, and their number without it; None: as many as patches.
        given: settings that hold here and in verl, whatever the folder says.
        like: how the name of a class begins that does the same with these, without torchvision.
    """

    named: str = "Qwen2VL"
    sizing: Sizing = "area"
    each: tuple[str, int] | None = None
    given: Mapping[str, bool] = {}
    like: str = ""


def grid(settings: Settings, sizing: Sizing) -> Grid:
    """The patch grid or the tiles of an image processor.

    Raises:
        ConfigError: the settings are no numbers, or contradict themselves.
    """
    size = settings.get("size")
    return _SIZINGS[sizing](settings, size if isinstance(size, Mapping) else {})


def _by_area(settings: Settings, size: Settings) -> Grid:
    limits = _AREAS | dict(size)
    least, most = settings.get("min_pixels"), settings.get("max_pixels")
    return _patches(settings, least or limits["shortest_edge"], most or limits["longest_edge"])


def _by_frames(settings: Settings, size: Settings) -> Grid:
    limits = _AREAS_OF_FRAMES | dict(size)
    both = _patches(settings, limits["shortest_edge"], limits["longest_edge"])
    return msgspec.structs.replace(both, min_pixels=both.min_pixels // 2, max_pixels=both.max_pixels // 2)


def _by_tokens(settings: Settings, size: Settings) -> Grid:
    few, many = settings.get("min_image_tokens", 64), settings.get("max_image_tokens", 256)
    return _patches({"patch_size": 16}, few * 32**2, many * 32**2)


def _square(settings: Settings, size: Settings) -> Tiles:
    whole = _tiles({"max_patches": 1}, size)
    return msgspec.structs.replace(whole, min_pixels=4 * whole.factor**2)


def _cells(settings: Settings, size: Settings) -> Tiles:
    cells = _tiles({"max_patches": settings.get("max_soft_tokens", 280)}, {"height": 48, "width": 48})
    return msgspec.structs.replace(cells, factor=48, each=1, fills=True)


def _tiles(settings: Settings, size: Settings) -> Tiles:
    """Images are shown between one tile and the most in area: more is not seen."""
    side, fewest, most = size.get("height", 384), settings.get("min_patches", 1), settings.get("max_patches", 12)
    numbers = [number for number in (side, fewest, most) if type(number) is int and number > 0]
    if len(numbers) < 3 or size.get("width", side) != side:
        raise ConfigError(f"the model's image settings hold no square tiles: {side}, {fewest}, {most}")
    side, fewest, most = numbers
    return Tiles(28, side**2, most * side**2, side=side, fewest=fewest, most=most)


def _covering(settings: Settings, size: Settings) -> CoveringTiles:
    return CoveringTiles(**msgspec.structs.asdict(_tiles({**settings, "min_patches": 1}, size)))


def _slices(settings: Settings, size: Settings) -> Tiles:
    sides = dict.fromkeys(("height", "width"), settings.get("scale_resolution", 448))
    square = _tiles({"max_patches": settings.get("max_slice_nums", 9)}, sides)
    merge = 2 if settings.get("downsample_mode") == "4x" else 4
    cell = _patches({**settings, "merge_size": merge}, square.min_pixels, square.max_pixels).factor
    most = square.most * square.side * (square.side + cell)
    return Slices(cell, square.min_pixels, most, side=square.side, most=square.most)


def _patches(settings: Settings, least: object, most: object) -> Grid:
    patch, merge = settings.get("patch_size", 14), settings.get("merge_size", 2)
    numbers = [number for number in (patch, merge, least, most) if type(number) is int and number > 0]
    if len(numbers) < 4:
        raise ConfigError(f"the model's image settings hold no whole numbers: {patch}, {merge}, {least}, {most}")
    patch, merge, least, most = numbers
    if least > most:
        raise ConfigError(f"the model's smallest image, {least} pixels, is over its largest, {most}")
    return Grid(patch * merge, least, most)


_SIZINGS: Mapping[Sizing, Callable[[Settings, Settings], Grid]] = {
    "area": _by_area, "frames": _by_frames, "tokens": _by_tokens, "tiles": _tiles, "covering": _covering,
    "slices": _slices, "square": _square, "cells": _cells,
}  # fmt: skip
