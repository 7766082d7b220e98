"""Models of this package as GGUF, written at first use into this user's cache."""

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from virc.backends import checkpoint
from virc.backends.gguf import convert as writing
from virc.backends.gguf.model import GGUF, SUFFIX, read
from virc.core.errors import ConfigError, UsageError, VircError
from virc.core.files import contents, fresh_folder
from virc.envs.environment import cache_folder

_FOLDER = "gguf"
_MOST_BYTES = 100 * 2**20
_TEXTS = ("config.json", "tokenizer.json", "preprocessor_config.json", "virc_protocol.json")


def kept(folder: Path) -> GGUF:
    """A small model as GGUF, from the cache, or written there first.

    Raises:
        ConfigError: the folder is no model of the Qwen-VL families, or larger than 100 MiB.
    """
    to = _place(folder)
    if not to.is_dir():
        try:
            with fresh_folder(to) as partial:
                writing.convert(folder, partial, folder.name)
        except (ConfigError, UsageError):  # another process writes it at this moment, or has
            if not to.is_dir():
                return _for_now(folder)
        except VircError:  # no folder can be made there
            return _for_now(folder)
    return read(_text_of(to))


def _place(folder: Path) -> Path:
    """Where it is kept: another model, or another version of what writes it, has another folder."""
    digest = hashlib.blake2b(Path(writing.__file__).read_bytes(), digest_size=8)
    files = [*_TEXTS, *checkpoint.weight_files(folder)]
    for file in files:
        with suppress(FileNotFoundError):
            digest.update(contents(folder / file, _MOST_BYTES))
    return cache_folder(os.environ) / _FOLDER / f"{folder.name}-{digest.hexdigest()}"


def _for_now(folder: Path) -> GGUF:
    """The model in a folder for temporary files, for this process."""
    to = Path(tempfile.mkdtemp(prefix="virc-gguf-"))
    return read(writing.convert(folder, to, folder.name))


def _text_of(folder: Path) -> Path:
    return next(each for each in folder.glob(f"*{SUFFIX}") if not each.name.startswith("mmproj"))
