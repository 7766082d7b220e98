"""A GGUF file of a vision-language model, with the file of its vision tower that lies next to it."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from virc.backends.gguf import header
from virc.backends.gguf.header import Value
from virc.core.errors import ConfigError
from virc.core.files import is_file
from virc.core.text import plain
from virc.families import registry as families
from virc.families import sizing
from virc.reasoning import resize
from virc.reasoning.resize import Grid

SUFFIX = ".gguf"
PROTOCOL, MIN_PIXELS, MAX_PIXELS = "virc.protocol", "virc.min_pixels", "virc.max_pixels"
"""Keys of ours: the chat protocol as JSON, and the smallest and largest area of an image in pixels."""
_VISION = "clip"
_MERGED = 2  # patches a side that become one token, if the file does not say


class GGUF(msgspec.Struct, frozen=True):
    """A model that llama.cpp runs.

    Args:
        vision: its vision tower, the "mmproj".
        name: what the file calls itself, else its file name.
        architecture: llama.cpp's name of it, such as qwen2vl.
        gib: size of both files, GiB.
        context: longest conversation that it was trained for, in tokens.
        grid: the patch grid of its images, if the file says so; of Qwen-VL and GLM-V only `virc merge --gguf` does.
        protocol: its chat protocol as JSON, if the file holds one.
        model_type: as transformers calls its kind, if the vision tower tells.
    """

    file: Path
    vision: Path
    name: str
    architecture: str
    gib: float
    context: int | None = None
    grid: Grid | None = None
    protocol: bytes | None = None
    model_type: str | None = None


def in_folder(folder: Path) -> Path | None:
    """The GGUF file of a language model in a folder; None if there is none, or several are."""
    found = [each for each in _files(folder) if "mmproj" not in each.name.lower()]
    return found[0] if len(found) == 1 else None


def read_gguf(file: Path) -> GGUF:
    """Read what a GGUF file says of itself, and find its vision tower.

    Raises:
        ConfigError: it is none, or is itself a vision tower; or none fits it in its folder, or several do.
    """
    if not is_file(file):
        raise ConfigError(f"there is no file {file}")
    values = header.read_header(file)
    architecture = _text(values, "general.architecture") or "unknown"
    if architecture == _VISION:
        raise ConfigError(f"{file} is the vision tower of a model", "name the file of the language model next to it")
    vision, tower = _vision(file, _number(values, f"{architecture}.embedding_length"))
    protocol = values.get(PROTOCOL)
    return GGUF(
        file,
        vision,
        _text(values, "general.name") or file.stem,
        architecture,
        (file.stat().st_size + vision.stat().st_size) / 2**30,
        _number(values, f"{architecture}.context_length"),
        _grid(values, tower),
        protocol.encode() if isinstance(protocol, str) else None,
        _model_type(architecture, tower),
    )


def _vision(file: Path, width: int | None) -> tuple[Path, Mapping[str, Value]]:
    """The vision tower next to a model, whose tokens are as wide as the model's, and its header."""
    found = [each for each in _files(file.parent) if "mmproj" in each.name.lower() and each != file]
    towers = {}
    for each in found:
        with suppress(ConfigError):  # a damaged one next to it may be of another model
            towers[each] = header.read_header(each)
    fitting = {
        each: values
        for each, values in towers.items()
        if width in (None, _number(values, "clip.vision.projection_dim") or width)
    }
    own = {each: values for each, values in fitting.items() if each.name.lower().endswith(file.name.lower())}
    chosen = own if len(own) == 1 else fitting
    if len(chosen) == 1:
        return next(iter(chosen.items()))
    if chosen:
        names = ", ".join(each.name for each in chosen)
        raise ConfigError(f"{len(chosen)} vision towers are next to {file}: {names}", "leave one of them in its folder")
    if found and not towers:
        raise ConfigError(f"{', '.join(each.name for each in found)} next to {file} is no GGUF file or is damaged")
    if towers:
        wrong = ", ".join(each.name for each in towers)
        raise ConfigError(f"{wrong} next to {file} is of another model", "put its own mmproj-….gguf into the folder")
    raise ConfigError(
        f"{file} sees no images: there is no vision tower next to it",
        "put its mmproj-….gguf, which comes from the same place, into the same folder",
    )


def _files(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.suffix.lower() == SUFFIX)


def _grid(values: Mapping[str, Value], tower: Mapping[str, Value]) -> Grid | None:
    smallest, largest = _number(values, MIN_PIXELS), _number(values, MAX_PIXELS)
    sized = families.of(_type_of_tower(tower)).images.sizing
    if sized not in ("area", "frames"):
        side = _number(tower, "clip.vision.image_size")
        tiles = _number(tower, "clip.vision.preproc_max_tiles") or 12
        settings: dict[str, object] = {"size": {"height": side, "width": side}, "max_patches": tiles}
        if smallest and largest:
            settings |= {"min_image_tokens": smallest // 32**2, "max_image_tokens": largest // 32**2}
            settings |= {"max_soft_tokens": largest // 48**2}
        grid = sizing.grid(settings, sized)
        # a longer one llama.cpp would cut into tiles
        return msgspec.structs.replace(grid, longest=1024) if sized == "tokens" else grid
    patch = _number(tower, "clip.vision.patch_size")
    if not (smallest and largest and patch) or smallest > min(largest, resize.MAX_PIXELS):
        return None
    return Grid(patch * (_number(tower, "clip.vision.spatial_merge_size") or _MERGED), smallest, largest)


def _model_type(architecture: str, tower: Mapping[str, Value]) -> str | None:
    if architecture.startswith("qwen35"):  # its vision tower is Qwen3-VL's
        return "qwen3_5"
    return _type_of_tower(tower)


def _type_of_tower(tower: Mapping[str, Value]) -> str | None:
    projector = _text(tower, "clip.vision.projector_type") or _text(tower, "clip.projector_type")
    named = (each for family in families.discover().values() for each in family.towers.items())
    return next((kind for kind, name in named if name == projector), None)


def _text(values: Mapping[str, Value], key: str) -> str | None:
    value = values.get(key)
    return plain(value, 200) if isinstance(value, str) and value else None


def _number(values: Mapping[str, Value], key: str) -> int | None:
    value = values.get(key)
    return value if type(value) is int and 0 < value < 2**31 else None
