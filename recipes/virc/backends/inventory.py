"""What the files in a folder of a model, an adapter or a checkpoint are, and which of them nothing uses.

Weights that nothing uses are refused: the model is another one without them. Settings and texts of an adapter are
compared with those of its base, which hold. What a run is resumed from, papers and code are no part of a model.
"""

import fnmatch
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from virc.backends import checkpoint, lora_config
from virc.config import taken
from virc.config.taken import Left
from virc.core.errors import ConfigError
from virc.core.files import contents, is_file
from virc.core.text import plain
from virc.families import sizing
from virc.reasoning.protocol import FILE_NAME

Kind = Literal["training", "code", "copies", "settings", "texts", "licences", "papers", "weights"]
_NOT_COPIED = (lora_config.SETTINGS, "config.json", FILE_NAME, "virc_origin.json")
"""Settings and texts that a merged model gets otherwise."""
_MAX_TEXT = 64 * 2**20
_MAX_DEPTH = 2  # folders in a folder


@cache
def _kinds() -> Mapping[Kind, re.Pattern[str]]:
    listed = msgspec.yaml.decode(Path(__file__).with_suffix(".yaml").read_bytes(), type=dict[Kind, list[str]])
    return {kind: re.compile("|".join(map(fnmatch.translate, names))) for kind, names in listed.items()}


def kind_of(name: str) -> Kind | None:
    """What a file is, by its name in the folder, with `/`; None: the name is not known."""
    return next((kind for kind, names in _kinds().items() if names.match(name.lower())), None)


def files(folder: Path) -> Iterator[tuple[str, Kind | None]]:
    """The files of a folder and those around, but for folders of which the kind is known."""
    for place, folders, names in os.walk(folder):
        inner = Path(place).relative_to(folder)
        of_folders = {each: kind_of(f"{(inner / each).as_posix()}/") for each in folders}
        folders[:] = [each for each in sorted(folders) if not of_folders[each] and len(inner.parts) < _MAX_DEPTH]
        for name in sorted(names):
            yield (named := (inner / name).as_posix()), kind_of(named)


def texts(folder: Path) -> list[str]:
    """The names of the settings and texts that a model has in addition to its config."""
    found = [name for name, kind in files(folder) if kind in ("settings", "texts") and name not in _NOT_COPIED]
    return [name for name in found if "/" not in name and is_file(folder / name)]


def of_model(folder: Path, ignore: Collection[str] = ()) -> Left:
    """What nothing reads in a model's folder: files of unknown names, and those that are ignored.

    Args:
        ignore: names of files of weights that are left out.

    Raises:
        ConfigError: there are further weights, or some are missing.
    """
    return _unused(folder, [*checkpoint.weight_files(folder), checkpoint.INDEX], ignore)


def of_adapter(folder: Path, ignore: Collection[str] = (), base: Path | None = None) -> Left:
    """As `of_model`, in an adapter's folder, with what is otherwise there than in that of its base."""
    left = _unused(folder, [lora_config.WEIGHTS], ignore, is_adapter=True)
    if base:
        left.add("settings", [*_differing(folder, base)])
    return left


def _unused(folder: Path, used: Sequence[str], ignore: Collection[str], is_adapter: bool = False) -> Left:
    left = Left()
    for name, kind in files(folder):
        is_weight = kind == "weights" or (is_adapter and kind == "copies")
        if name in used or (kind and not is_weight):
            continue
        if is_weight and not {name, name.partition("/")[0]}.intersection(ignore):
            named = plain(name, 100)
            sentence = f"{folder} has further weights, {named}, which nothing reads with {plain(used[0], 100)}"
            raise ConfigError(sentence, f"merge them, or move them away; «--ignore {named}» leaves them out")
        left.add("file", [name])
    return left


def _differing(folder: Path, base: Path) -> Iterator[str]:
    """The settings and texts of an adapter that are other ones than those of its base, which hold."""
    of_base = dict[str, list[Any]]()
    for name in ("config.json", *texts(base)):
        for key, value in _fields(base / name).items():
            of_base.setdefault(key, []).append(value)
    for name in texts(folder):
        own = _fields(folder / name)
        if own.keys() & sizing.KEYS and _grid(folder) == _grid(base):
            own = {key: value for key, value in own.items() if key not in sizing.KEYS}
        others = {key: value for key, value in own.items() if value not in of_base.get(key, ())}
        yield from (f"{name}: {key}" for key in taken.left("settings", others, ()))


def _fields(path: Path) -> Mapping[str, Any]:
    """What a file says, by the names that other files may have for it."""
    if path.suffix == ".jinja":
        return {"chat_template": contents(path, _MAX_TEXT).decode(errors="replace")}
    if path.suffix != ".json" or path.name == "vocab.json":
        return {}
    said = checkpoint.read_json(path)
    if path.name == "tokenizer.json":
        tokens = said.pop("added_tokens", None)
        added = [each for each in tokens if isinstance(each, dict)] if isinstance(tokens, list) else []
        said |= {str(each.get("content")): each.get("id") for each in added}
    image_processor = said.pop("image_processor", None)
    return {**said, **(image_processor if isinstance(image_processor, dict) else {})}


def _grid(folder: Path) -> object:
    try:
        return checkpoint.image_grid(checkpoint.image_settings(folder))
    except ConfigError:
        return None
