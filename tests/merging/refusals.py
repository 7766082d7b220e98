"""Merges checkpoints that were spoilt, one after the other, in verl's environment.

`refusals.py ACTOR FOLDER` prints JSON: how it was spoilt -> the sentence of the refusal, or None.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from virc.core.errors import VircError
from virc.engines.verl import merge as verl_merge

HEAD = "lm_head.weight"
NORM = "model.visual.blocks.0.norm1.weight"
States = list[dict[str, Any]]


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.file}",)


def one_of_two_tied(states: States) -> None:
    states[1][HEAD]._local_tensor = states[1][HEAD]._local_tensor + 1


def a_weight_less(states: States) -> None:
    for state in states:
        del state[NORM]


def a_weight_more(states: States) -> None:
    for state in states:
        state["model.visual.extra.weight"] = state[NORM]


def a_weight_of_one_process(states: States) -> None:
    del states[1][NORM]


def rows_less(states: States) -> None:
    states[0][NORM]._local_tensor = states[0][NORM]._local_tensor[1:].clone()


def larger_than_its_file(states: States) -> None:
    states[0][NORM]._local_tensor = torch.ones(1).expand(states[0][NORM]._local_tensor.shape)


def a_number(states: States) -> None:
    for state in states:
        state[NORM] = 3


def copies_that_differ(states: States) -> None:
    for rank, state in enumerate(states):
        state[NORM] = torch.full(state[NORM].shape, float(rank))


def a_factor_without_its_other(states: States) -> None:
    for state in states:
        name = "model.language_model.layers.0.mlp.down_proj"
        state[f"base_model.model.{name}.base_layer.weight"] = state.pop(f"{name}.weight")
        state[f"base_model.model.{name}.lora_A.default.weight"] = torch.zeros(4, 384)


def code(states: States) -> None:
    states[1]["code"] = Hostile(Path(sys.argv[2]) / "ran")


WAYS: tuple[Callable[[States], None], ...] = (
    one_of_two_tied, a_weight_less, a_weight_more, a_weight_of_one_process, rows_less, larger_than_its_file,
    a_number, copies_that_differ, a_factor_without_its_other, code,
)  # fmt: skip


@contextmanager
def spoilt(actor: Path, folder: Path, way: Callable[[States], None]) -> Iterator[Path]:
    """A copy of a checkpoint of two processes that was spoilt in that way."""
    copy = folder / way.__name__
    shutil.copytree(actor, copy)
    files = [copy / f"model_world_size_2_rank_{rank}.pt" for rank in range(2)]
    states = [torch.load(file, weights_only=True) for file in files]
    way(states)
    for state, file in zip(states, files, strict=True):
        torch.save(state, file)
    (copy / "lora_train_meta.json").write_text('{"r": 4, "lora_alpha": 8}')
    yield copy


def main(actor: Path, folder: Path) -> dict[str, str | None]:
    """Every way, and what was said of it."""
    said: dict[str, str | None] = {}
    for way in WAYS:
        with spoilt(actor, folder, way) as copy:
            out = folder / "out"
            out.mkdir(exist_ok=True)
            try:
                verl_merge.merge([str(copy), str(out)])
                said[way.__name__] = None
            except VircError as error:
                said[way.__name__] = error.message
            assert not list(out.iterdir()), way
    return said


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
