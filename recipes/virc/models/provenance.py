"""Where a merged model comes from: a small file next to its weights."""

import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from virc.core.files import MODELS, is_file, json_or_none, write_json
from virc.core.text import plain
from virc.systems.names import HUB_ID

FILE_NAME = "virc_origin.json"

Kind = Literal["shards", "adapter", "model"]

_MAX_BYTES = 2**20
_Line = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,4096}\Z")]


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What a merged model was made from.

    Args:
        kind: shards of full weights or with an adapter, an adapter on a base, or a model that was copied.
        source: the checkpoint, as people call it: `RUN@STEP`, else the folder's name.
        system, stage: of the run; None: it is no run's.
        step, steps: optimizer steps of this checkpoint, and of the whole run.
        root: name of the model at the beginning of the chain of stages, a hub id wherever it has one.
    """

    schema: Literal["virc.origin/1"] = "virc.origin/1"
    kind: Kind
    source: _Line
    system: _Line | None = None
    stage: _Line | None = None
    step: int | None = None
    steps: int | None = None
    root: _Line | None = None


def called(model: str) -> str:
    """A hub id as it is, of a path its last part: a merged model may be published, and paths are private."""
    is_hub_id = re.fullmatch(HUB_ID, model) and not model.startswith(f"{MODELS}/")
    return plain(model if is_hub_id else model.rstrip("/").rsplit("/", 1)[-1])


def read_provenance(folder: Path) -> Origin | None:
    """What the file in a model's folder says; None where there is none, or none of ours."""
    file = folder / FILE_NAME
    return json_or_none(file, Origin, _MAX_BYTES) if is_file(file) else None


def write(folder: Path, origin: Origin) -> None:
    write_json(folder / FILE_NAME, origin)


def merged_from(run: str, workspace: Path) -> dict[Path, Origin]:
    """The models under a workspace's `models/` that were made from a run of that name, by their folders."""
    found = {
        file.parent: read_provenance(file.parent) for file in sorted((workspace / MODELS).glob(f"[!.]*/{FILE_NAME}"))
    }
    return {folder: each for folder, each in found.items() if each and each.source.rpartition("@")[0] == run}
