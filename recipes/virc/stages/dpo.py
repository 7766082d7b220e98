"""Training on preferences: the settings of a stage. `engines/llamafactory/preferences` turns them into keys."""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from virc.stages import sft
from virc.stages.sft import Contradiction, NotNegative, Positive

Smoothing = Annotated[float, Meta(ge=0, lt=0.5)]


class Config(sft.Config, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stage of kind `dpo`: of two replies to one prompt, the better becomes likelier than the worse.

    All settings of a stage of kind `sft` hold here too; a row is a pair, and `cutoff_len` bounds its longer side.

    Args:
        loss: `sigmoid`: DPO (Rafailov et al., 2023); `kto`: KTO (Ethayarajh et al., 2024), each reply of a pair a row
            of its own; `orpo`: ORPO (Hong et al., 2024); `simpo`: SimPO (Meng et al., 2024). MPO (Wang et al., 2024)
            is `sigmoid` with LLaMA-Factory's keys `pref_ftx` and `pref_bco_weight` in `engine`.
        beta: how strongly the model is held to the base; of ORPO the weight of the odds ratio.
        label_smoothing: share of pairs that are taken to be the wrong way round; of `sigmoid`.
        simpo_gamma: margin that SimPO asks for.
        chosen_weight, rejected_weight: of the two kinds of replies in KTO.
        stop_on: signs of ill health that end the run.
    """

    loss: Literal["sigmoid", "kto", "orpo", "simpo"] = "sigmoid"
    beta: Positive = 0.1
    label_smoothing: Smoothing = 0.0
    simpo_gamma: NotNegative = 0.5
    chosen_weight: Positive = 1.0
    rejected_weight: Positive = 1.0
    stop_on: tuple[sft.OfPairs, ...] = ()  # type: ignore[assignment]  # more of them than for other rows

    @property
    def referred(self) -> bool:
        """Whether the loss compares with a reference: the weights that the stage starts from."""
        return self.loss in ("sigmoid", "kto")

    @property
    def sides(self) -> int:
        return 1 if self.loss == "kto" else 2


_READ_BY = {"label_smoothing": "sigmoid", "simpo_gamma": "simpo", "chosen_weight": "kto", "rejected_weight": "kto"}
"""Setting -> the one loss that reads it."""


def contradictions(config: Config) -> Iterator[Contradiction]:
    """Settings that each are fine and together make no sense."""
    yield from sft.contradictions(config)
    defaults = {field.name: field.default for field in msgspec.structs.fields(Config)}
    for name, loss in _READ_BY.items():
        if config.loss != loss and getattr(config, name) != defaults[name]:
            message = f"{name} is for the loss {loss}, and loss is {config.loss}"
            yield name, message, f"«--set loss={loss}», or leave {name} out"
