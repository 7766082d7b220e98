"""How much of a model a stage trains where `--fit` chooses: the most that the estimate says this machine holds."""

from collections.abc import Iterator
from functools import partial

import msgspec

from virc.core.errors import ConfigError, SetupError
from virc.core.events import Reporter
from virc.envs.hardware import Machine
from virc.models import sizes
from virc.stages.resolve import Resolved
from virc.training.estimate import fits
from virc.training.request import TrainRequest


def fitted(request: TrainRequest, machine: Machine, report: Reporter) -> tuple[TrainRequest, Resolved]:
    """The request with the first level that fits, and its settings; rows as long as the stage allows are assumed.

    Raises ConfigError: the sizes of the base are not known. SetupError: nothing fits.
    """
    shape_of, over = partial(sizes.of_base, workspace=request.workspace), list[str]()
    for level, asked, resolved in _levels(request):
        found = fits.verdict(resolved, machine, shape_of, free=True)
        if found.fits is None:
            raise ConfigError(f"«--fit» cannot choose: {found.why}", "virc download it first, or choose «--with lora»")
        if found.fits:
            report.note(f"{level} fits: it needs {found.needs}" + "".join(f"; {each}" for each in over))
            return asked, resolved
        over.append(f"{level} {found.why}")
    raise SetupError(f"«--fit» finds nothing that fits: {'; '.join(over)}", found.helps or "virc doctor says what fits")


def _levels(request: TrainRequest) -> Iterator[tuple[str, TrainRequest, Resolved]]:
    resolved = request.resolve()
    if resolved.config.lora is None:
        yield "training all weights", request, resolved
        overlays, own = (*request.overlays, "lora"), {**request.settings, "lora": {}}
        with_lora = {"overlays": overlays} if "lora" in resolved.system.overlays else {"settings": own}
        request = msgspec.structs.replace(request, **with_lora)
        resolved = request.resolve()
    yield "LoRA", request, resolved
    if resolved.kind != "rl":  # verl quantizes no weights
        quantized = {**request.settings, "engine.quantization_bit": 4}
        request = msgspec.structs.replace(request, settings=quantized)
        yield "QLoRA", request, request.resolve()
