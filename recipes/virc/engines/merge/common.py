"""What the processes that merge have in common: what they print, and how a network is written.

They run where torch and transformers are: `verl_merge` in verl's environment, `adapter_merge` in this package's own.
"""

import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from virc.backends import devices
from virc.core.errors import EngineError, ErrorFields, SetupError, VircError, error_of, errors_as, sent_fields

if TYPE_CHECKING:
    import torch

PROGRESS = "merge: "
"""What lines that say how far it is begin with; the others are the libraries'."""
MARGIN = 2**26
"""Bytes of disk that a model needs besides its weights."""

_FILE = "4GB"


class Output(msgspec.Struct, frozen=True):
    parameters: int = 0
    error: ErrorFields | None = None


def run(merge: Callable[[Sequence[str]], int]) -> int:
    """The program: prints how many numbers the merged model holds, or the mistake, as one JSON object."""
    quiet()
    try:
        with redirect_stdout(sys.stderr):  # what libraries print is not the result
            output = Output(merge(sys.argv[1:]))
    except VircError as error:
        output = Output(error=sent_fields(error))
    print(msgspec.json.encode(output).decode())
    return 0


def read_printed(stdout: str) -> int:
    """What such a process printed. Raises the VircError that it found, and EngineError: it printed something else."""
    try:
        output = msgspec.json.decode(stdout, type=Output)
    except msgspec.MsgspecError as error:
        raise EngineError("the merge ended without a word that makes sense") from error
    if output.error:
        raise error_of(output.error)
    return output.parameters


def quiet() -> None:
    import transformers

    logging: Any = transformers.utils.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def tell(text: str) -> None:
    print(f"{PROGRESS}{text}", file=sys.stderr, flush=True)


def tied(network: Any) -> list[list[str]]:
    """Names of weights that are one and the same, group by group."""
    names: dict[int, list[str]] = defaultdict(list)
    for name, weight in network.named_parameters(remove_duplicate=False):
        names[id(weight)].append(name)
    return [group for group in names.values() if len(group) > 1]


def size_of(network: Any) -> int:
    """Bytes of a network's weights, which may be without storage (`meta`)."""
    return sum(weight.numel() * weight.element_size() for weight in network.parameters())


def check_room(needed: int, folder: Path) -> None:
    """Raises SetupError: neither memory nor the disk of the folder takes weights of `needed` bytes."""
    import torch

    free = shutil.disk_usage(folder).free
    if needed + MARGIN > free:
        raise SetupError(
            f"the merged model takes {_gib(needed)} GiB, and {_gib(free)} are free in {folder.parent}",
            "make room, or merge into a folder of another disk with «--to»",
        )
    memory = devices.free_memory(torch.device("cpu"))
    if memory is not None and needed > memory:
        raise SetupError(f"merging takes {_gib(needed)} GiB of memory, and {_gib(memory)} are free")


def save(network: Any, folder: Path) -> int:
    """Write a network as transformers does, with its config. Returns how many numbers its weights are."""
    from safetensors import SafetensorError

    tell("writing the weights")
    turn_back()
    with errors_as(VircError, "the merged model cannot be written", caught=(OSError, SafetensorError)):
        network.save_pretrained(folder, max_shard_size=_FILE)
        for file in folder.glob("*.safetensors"):  # safetensors lets nobody else read them
            shutil.copymode(folder / "config.json", file)
            with file.open("rb") as opened:  # or a folder that is renamed could lose its weights with the power
                os.fsync(opened.fileno())
    return sum(weight.numel() for weight in network.parameters())


def turn_back() -> None:
    """Have transformers write experts of Qwen3-VL as it read them: it leaves them turned, and vLLM reads none so."""
    from transformers.core_model_loading import Transpose

    Transpose.reverse_op = property(lambda each: Transpose(each.dim1, each.dim0))  # type: ignore[assignment, method-assign]


def same(one: "torch.Tensor", other: "torch.Tensor") -> bool:
    import torch

    return one.shape == other.shape and torch.equal(one, other)


def _gib(count: float) -> str:
    return f"{count / 2**30:.1f}"
