"""Which device a model runs on, and how much memory is free there."""

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from virc.core.errors import ConfigError, SetupError
from virc.envs import hardware

if TYPE_CHECKING:
    import torch

_NVIDIA = Path("/proc/driver/nvidia")
_NO_MEMORY = ("out of memory", "not enough memory", "allocate memory")  # as CUDA, Metal and the CPU's allocator say it
_WANTED = re.compile(r"tried to allocate ([\d.]+ \w+)", re.IGNORECASE)


def choose(wanted: str | None = None) -> "tuple[torch.device, str | None]":
    """Take the wanted device, or the best that works: cuda, mps, cpu; with a line on a GPU that was not taken.

    Raises:
        ConfigError: `wanted` names no device.
        SetupError: `wanted` does not work here; the message says why.
    """
    import torch

    if wanted is not None and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", wanted):
        raise ConfigError(f"unknown device {wanted!r}", hint="«--device cuda», mps or cpu")
    refused = None
    for name in [wanted] if wanted else ["cuda", "mps", "cpu"]:
        reason = _unusable(name)
        if reason is None:
            return torch.device(name), refused and f"{refused}; using {name}"
        if wanted:
            raise SetupError(f"device {name} cannot be used: {reason}", hint="«--device cpu»")
        if name == "cuda" and any((_NVIDIA / "gpus").glob("*")):
            refused = f"there is an NVIDIA GPU that cannot be used: {reason}"
    raise AssertionError("the CPU is always usable")


def settle(device: "torch.device", number: "torch.dtype") -> None:
    """Set what torch does by itself on CUDA and should not do here, for the whole process.

    cuDNN's attention makes a plan for each length of keys in each thread: on an H100 a token of a 3B took 66 ms in
    place of 25. Convolutions round patches in float32 to 10 bits.
    """
    import torch

    if device.type == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(False)
        if number == torch.float32:
            torch.backends.cudnn.allow_tf32 = False


def _unusable(name: str) -> str | None:
    import torch

    if name == "cpu":
        return None
    if name == "mps":
        return None if torch.backends.mps.is_available() else "this machine or this torch has no Metal"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.zeros(1, device=name).add_(1).item()
    except (RuntimeError, AssertionError) as error:
        wheel = torch.version.cuda and f"torch {torch.__version__} needs CUDA {torch.version.cuda}"
        reason = str(error).strip().partition("\n")[0]
        return f"driver {_driver()}, {wheel or f'torch {torch.__version__} is built without CUDA'} ({reason})"
    return None


def _driver() -> str:
    try:
        version = re.search(r"NVRM version:.*?\s(\d+\.\d+(?:\.\d+)?)\s", (_NVIDIA / "version").read_text())
    except OSError:
        return "none"
    return version[1] if version else "of unknown version"


def memory_refused(error: Exception) -> str | None:
    """How much was refused, as the end of a sentence, if memory ran out on any device; None for other errors.

    Such as `: 2.00 GiB could not be allocated`; an empty text if the error does not say.
    """
    said = str(error)
    if not isinstance(error, MemoryError) and not any(words in said.lower() for words in _NO_MEMORY):
        return None
    amount = _WANTED.search(said)
    return f": {amount[1]} could not be allocated" if amount else ""


def free_memory(device: "torch.device") -> int | None:
    """Bytes free on a device; for the CPU what the system and its container allow. None if unknown."""
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return hardware.memory()[1] or None
