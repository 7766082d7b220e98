"""What a model folder holds, read before anything heavy is loaded; a ConfigError if a file is missing or wrong."""

import json
import math
import shlex
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from virc.core.errors import ConfigError, errors_as
from virc.core.files import PULL, contents, is_pointer
from virc.core.json_stream import once
from virc.core.text import plain
from virc.families import registry as families
from virc.families import sizing
from virc.reasoning.resize import Grid, Tiles

INDEX = "model.safetensors.index.json"

_MAX_BYTES = 64 * 2**20


class _Entry(msgspec.Struct):
    dtype: str
    shape: tuple[Annotated[int, Meta(ge=0)], ...]
    data_offsets: tuple[Annotated[int, Meta(ge=0)], Annotated[int, Meta(ge=0)]]


def check_checkpoint(folder: Path) -> None:
    """Refuse a folder that is no model of a supported family with safetensors weights."""
    if not folder.is_dir():
        raise ConfigError(f"no model folder {folder}")
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder} is no model: it has no config.json")
    refused = not_in_process_error(str(folder), model_type(folder))
    if refused:
        raise refused
    for name in ("tokenizer.json", *weight_files(folder)):
        if not (folder / name).is_file():
            raise ConfigError(f"{folder} is incomplete: {name} is missing")


def not_in_process_error(name: str, kind: object, folder: str | None = None) -> ConfigError | None:
    """What to say of a model whose `model_type`, the `kind`, does not run in this process; None if it runs."""
    known = families.run_here()
    if kind in known:
        return None
    *others, last = known
    return ConfigError(
        f"{name} is a model of type {plain(str(kind), 60)!r}, which does not run in this process: "
        f"{', '.join(others)} and {last} do",
        f"serve it with vLLM (virc serve {shlex.quote(folder or name)}) or another server, and use «--endpoint URL»",
    )


def model_type(folder: Path) -> object:
    return read_json(folder / "config.json").get("model_type")


def weight_files(folder: Path) -> list[str]:
    index = folder / INDEX
    if index.is_file():
        listed = read_json(index).get("weight_map")
        if not isinstance(listed, Mapping) or not all(isinstance(name, str) for name in listed.values()):
            raise ConfigError(f"{index} has no weight_map")
        if far := [name for name in listed.values() if Path(name).name != name]:
            raise ConfigError(f"{index} names {min(far)!r}, which is not in its folder", "download the model again")
        return sorted(set(listed.values()))
    if not (folder / "model.safetensors").is_file() and (any(folder.glob("*.bin")) or any(folder.glob("*.pt*"))):
        raise pickled(folder)
    return ["model.safetensors"]


def pickled(folder: Path) -> ConfigError:
    hint = "convert them to safetensors where you trust them"
    return ConfigError(f"{folder} has pickled weights only, and unpickling runs code", hint)


def parameters(folder: Path) -> int:
    return sum(count(folder / name) for name in weight_files(folder))


def file_bytes(folder: Path) -> int:
    if missing := [name for name in weight_files(folder) if not (folder / name).is_file()]:
        raise ConfigError(f"{folder} is incomplete: {missing[0]} is missing", "copy or download it again")
    return sum((folder / name).stat().st_size for name in weight_files(folder))


def count(path: Path) -> int:
    """How many numbers a safetensors file holds, from its header."""
    return sum(math.prod(shape) for _, shape, _ in tensors(path).values())


def tensors(path: Path) -> dict[str, tuple[str, tuple[int, ...], int]]:
    """The tensors of a safetensors file, from its header: name -> type of its numbers, shape, and its first byte."""
    found, start, _ = _header(path)
    return {name: (each.dtype, each.shape, start + each.data_offsets[0]) for name, each in found.items()}


def metadata(path: Path) -> object:
    """What the header of a safetensors file has in addition to its tensors; None if that is nothing."""
    return _header(path)[2]


def _header(path: Path) -> tuple[dict[str, _Entry], int, object]:
    with errors_as(
        ConfigError, f"{path} is no safetensors file or is damaged", caught=(ValueError, struct.error, OSError)
    ):
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _MAX_BYTES:
                raise ValueError(f"a pointer of Git LFS ({PULL})" if is_pointer(path) else "its header is too long")
            header = msgspec.json.decode(file.read(length), type=dict[str, Any])
        about = header.pop("__metadata__", None)
        found = msgspec.convert(header, dict[str, _Entry])
        if max((each.data_offsets[1] for each in found.values()), default=0) > path.stat().st_size - 8 - length:
            raise ValueError("it ends too early")
    return found, 8 + length, about


def image_settings(folder: Path) -> dict[str, object]:
    """The image processor's settings: `preprocessor_config.json`, or its part of `processor_config.json`."""
    for name, key in (("processor_config.json", "image_processor"), ("preprocessor_config.json", None)):
        if (folder / name).is_file():
            settings = read_json(folder / name)
            part = settings if key is None else settings.get(key)
            if isinstance(part, dict) and part:
                return part
    raise ConfigError(f"{folder} is incomplete: preprocessor_config.json is missing or empty")


def folder_grid(folder: Path, max_pixels: int | None = None) -> Grid:
    """The patch grid or tiles of a model; `max_pixels` lowers its own limit, in pixels.

    Raises:
        ConfigError: a file of it is missing, or its settings make no sense.
    """
    grid = image_grid(image_settings(folder), max_pixels)
    if not isinstance(grid, Tiles) or grid.fills:
        return grid
    config = read_json(folder / "config.json")
    key, each = families.of(config.get("model_type")).images.each or ("", None)
    vision = config.get("vision_config")
    try:
        if key:
            return msgspec.structs.replace(grid, each=int(config.get(key, each)))  # type: ignore[call-overload]
        patch = vision["patch_size"]  # type: ignore[index]
        patches = grid.side // (patch[0] if isinstance(patch, list) else patch)
        each = int((patches * float(config.get("downsample_ratio", 0.5))) ** 2)  # type: ignore[arg-type]
    except (TypeError, KeyError, ValueError, ZeroDivisionError) as error:
        raise ConfigError(f"{folder / 'config.json'} does not say how many tokens a tile has") from error
    return msgspec.structs.replace(grid, each=each)


def image_grid(settings: Mapping[str, object], max_pixels: int | None = None) -> Grid:
    """The patch grid of a model's image settings; `max_pixels` lowers the model's own limit, in pixels.

    Raises:
        ConfigError: the settings are no numbers, or contradict themselves or `max_pixels`.
    """
    processor = families.image_processor(settings.get("image_processor_type"))
    return sizing.grid(settings, processor.sizing).limited(max_pixels)


_QUANTIZED = frozenset({"I8", "U8", "I16", "I32", "U32", "F8_E4M3", "F8_E5M2", "F4", "F8_E8M0"})
"""Types of numbers of a safetensors file in which nobody keeps weights that are to be trained."""


def quantization(folder: Path) -> str | None:
    """How the weights of a model are quantized, by its settings or by their types; None: they are not.

    Raises ConfigError: weights are missing or damaged.
    """
    kinds = {
        kind for name in weight_files(folder) for kind, shape, _ in tensors(folder / name).values() if len(shape) > 1
    }
    settings = read_json(folder / "config.json")
    parts = [each for each in (settings, settings.get("text_config")) if isinstance(each, dict)]
    methods = [each["quantization_config"] for each in parts if each.get("quantization_config")]
    if not methods and not kinds & _QUANTIZED:
        return None
    named = next((each.get("quant_method") for each in methods if isinstance(each, dict)), None)
    return plain(str(named or ", ".join(sorted(kinds & _QUANTIZED))), 40)


def read_json(path: Path) -> dict[str, object]:
    unread = errors_as(ConfigError, f"cannot read {path}")
    with unread, errors_as(ConfigError, f"{path} is no JSON", caught=(ValueError, RecursionError)):
        value = json.loads(contents(path, _MAX_BYTES), object_pairs_hook=once)
    if not isinstance(value, dict):
        raise ConfigError(f"{path} holds no JSON object")
    return value
