"""The `virc serve` of this machine that has a model loaded already (setting `local_server`)."""

import hashlib
from pathlib import Path

import msgspec

from virc.backends.chat.errors import WireError
from virc.backends.chat.listing import read_models
from virc.core.text import plain
from virc.core.timeouts import LateError
from virc.models.registry import Weights
from virc.probing.servers import models_answer
from virc.reasoning.protocol import Protocol

SECONDS = 0.5
"""Longest wait for the server's list of models."""
_OF_A_MODEL = frozenset({".jinja", ".json", ".safetensors"})


class Entry(msgspec.Struct, frozen=True):
    endpoint: str
    name: str


def fingerprint(weights: Weights) -> str:
    """A hash by which a model on this machine is known again: of the paths, sizes, times and inodes of its files.

    `virc serve` publishes it. It tells other machines nothing, and changes when a file is replaced.
    """
    found = hashlib.sha256()
    for file in _files(weights):
        state = file.stat()
        found.update(repr((str(file), state.st_size, state.st_mtime_ns, state.st_ino)).encode())
    return found.hexdigest()


def _files(weights: Weights) -> list[Path]:
    if weights.gguf:  # many of them may be in one folder
        return [weights.gguf.file.resolve(), weights.gguf.vision.resolve()]
    folders = [folder.resolve() for folder in (weights.folder, weights.adapter) if folder]
    found = [file for folder in folders for file in sorted(folder.iterdir()) if file.suffix in _OF_A_MODEL]
    return [file for file in found if file.is_file()]  # a link may lead nowhere


def find(weights: Weights, protocol: Protocol | None, port: int) -> tuple[Entry | None, str]:
    """The server on a port of this machine that has these very files loaded; else None, and why it is not used.

    It is asked once, for at most `SECONDS`, and gets no API key.
    """
    place = f"127.0.0.1:{port}"
    try:
        status, content = models_answer(port, SECONDS)
        served = read_models([content]) if status == 200 else None
    except LateError:
        return None, f"{place} did not answer within {SECONDS:g} s"
    except (OSError, ValueError, WireError) as error:
        if "refused" in str(error):
            return None, f"nothing listens on {place}"
        served = None
    if served is None:
        return None, f"{place} does not list its models"
    names = plain(", ".join(each.id for each in served[:8]))
    ours = fingerprint(weights)
    same = next((each for each in served if each.virc_weights == ours), None)
    if same is None:
        other = "another " if weights.name in (each.id for each in served) else ""
        return None, f"{place} serves {other}{names or 'nothing'}{'' if other else f', not {weights.name}'}"
    if protocol and same.virc_protocol != msgspec.json.decode(msgspec.json.encode(protocol)):
        return None, f"{place} serves {names} with another chat protocol"
    return Entry(f"http://{place}/v1", same.id), ""
