"""What the check of a stage's rows takes and returns, as JSON between two processes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from virc.data.formats.registry import RowsFile
from virc.reasoning.protocol import Protocol
from virc.rewards.sources import Speaker
from virc.stages import dpo, rl, sft
from virc.stages.sft import StageConfig


class RowsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to look at in the rows of a stage of any kind. Every path is absolute.

    Args:
        config: the stage's settings.
        folder: new folder for the rows to train on, where those are not all rows of `source`; for RL, always.
        protocol: file of the rows' chat protocol; None: the one in their folder, else the one they show.
        chat_protocol: of the stage's system: that of rows with its system message, unless their folder has another; for
            RL of the base, for rows that are problems.
        loads: tools that the rows' chat protocol may name: files of the user's own, names of others.
        is_trial: nothing is trained, so no image is written again.
    """

    config: StageConfig
    source: RowsFile
    base: Path
    name: str
    folder: Path
    protocol: Path | None = None
    chat_protocol: Protocol | None = None
    loads: tuple[str, ...] = ()
    workers: int = 1
    is_trial: bool = False


class SftRequest(RowsRequest, frozen=True, kw_only=True, tag="solutions"):
    config: sft.Config


class PairsRequest(SftRequest, frozen=True, kw_only=True, tag="pairs"):
    """Pairs of replies; the longer one of each counts. For KTO each is a row of its own."""

    config: dpo.Config


class RlRequest(RowsRequest, frozen=True, kw_only=True, tag="prompts"):
    """What to look at in the rows of a stage of RL.

    Args:
        tools: names or files of tools to offer with those of the chat protocol.
        sources: what holds in place of `chat_protocol`, the stage's reward and `beside` for rows of other systems, by
            their names.
        tries_tools: refuse tools that cannot be used on this machine, such as one whose server does not answer.
    """

    config: rl.Config
    chat_protocol: Protocol
    validation: RowsFile | None = None
    home: Path
    tools: tuple[str, ...] = ()
    beside: Path | None = None
    sources: Mapping[str, Speaker] = {}
    tries_tools: bool = False


Request: TypeAlias = SftRequest | PairsRequest | RlRequest


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. Lengths are tokens, images included.

    Args:
        rows: that LLaMA-Factory trains on: its own `Num examples`; of KTO two for each pair.
        dropped: rows left out because they are longer than the cutoff.
        longest, mean, total: of the rows it trains on; of a pair the longer side, and both sides together in mean and
            total.
        percentiles: 50, 90 and 99, of the same rows.
        shrunk: of them those over `max_pixels` or the base's own limit; boxes in pixels no longer fit them.
        rewritten: of them those that LLaMA-Factory would not show as `virc solve` does, by the reason; the rows to
            train on have them as they are shown.
        looked_at: rows whose images were decoded and whose turns were parsed.
        boxed: of those, rows with four numbers one after the other in a turn, such as a box.
        faults: of those, rows with a fault of each kind that does not keep LLaMA-Factory from training on them.
        otherwise: rows with another system message than the chat protocol's.
        file, dataset, entry: file of rows to train on, a name for it, and what `dataset_info.json` is to say of it.
        media: folder that names of images start from; of RL: that holds them all.
        off_grid: of RL, inputs checked closely that are not shown at the size of their file.
        lacking: term -> rows that lack something for it; `lacks` describes it, as a clause.
        left: sentences on what comes with the rows and is not used.
        of_no_source: of RL with rows of several systems: rows by a `data_source` that is none of these.
    """

    rows: int
    dropped: int
    longest: int
    mean: float
    total: int
    percentiles: tuple[int, int, int]
    images: int
    shrunk: int
    looked_at: int
    faults: dict[str, int]
    otherwise: int
    protocol: Protocol
    file: Path
    dataset: str
    entry: dict[str, Any]
    media: Path
    validation: Path | None = None
    off_grid: int = 0
    lacking: dict[str, int] = {}
    lacks: str = ""
    rewritten: dict[str, int] = {}
    of_no_source: dict[str, int] = {}
    boxed: int = 0
    left: tuple[str, ...] = ()
